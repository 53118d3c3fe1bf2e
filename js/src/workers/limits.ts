// Limits of objects and of the way to them.

/** Largest size in bytes of a request frame, and so of a call: 16 MiB. The platform carries 32 MiB in one message, and an object should stay small. */
export const MAX_FRAME_BYTES = 16 << 20;

/** Reply frames are sent together up to this size in bytes: 8 MiB. */
export const REPLY_BYTES = 8 << 20;

/** Largest size in bytes of a reply frame: the platform's 32 MiB, less what its own encoding may take. */
export const MAX_REPLY_BYTES = (32 << 20) - 1024;

/** The size in bytes that a memtable of an object grows to by default: 512 KiB. */
export const OBJECT_MEMTABLE_BYTES = 512 << 10;

/** The size in bytes that a store in an object grows to by default: 9 GiB of the 10 GB that the platform gives an object. */
export const OBJECT_MOST_BYTES = 9 * 2 ** 30;

/** How many steps of background work are done behind a call before the rest is left to an alarm. */
export const STEPS_BEHIND_CALL = 64;

/** How many steps one alarm does before it asks for the next. */
export const STEPS_OF_ALARM = 256;

/** How long, in milliseconds, a session over HTTP may go unused before it is ended: 2 minutes. */
export const VISITOR_IDLE_MILLIS = 120_000;

/** Most sessions over HTTP at once. One more ends the one that was not used for longest. */
export const MAX_VISITORS = 1000;

/** How long, in milliseconds, a client over HTTP is let wait for answers before it has to ask again: 20 seconds. */
export const VISIT_WAIT_MILLIS = 20_000;
