// Those who talk to an object over HTTP: a session lasts over many requests, and nobody tells of its end.

import { TempestError } from '../errors.js';
import { FrameError, FrameWriter, MALFORMED_ID, Op } from '../frames.js';
import { entriesOf, errorReply, type Entry } from './entries.js';
import { MAX_VISITORS, VISIT_WAIT_MILLIS, VISITOR_IDLE_MILLIS } from './limits.js';
import { Mailbox, type Sessions } from './sessions.js';

/** A request of a client over HTTP, as the router passes it on. */
export interface Visit {
  /** The name of the session, which its client has drawn at random. */
  readonly session: string;
  readonly does: 'send' | 'receive' | 'close' | 'destroy';

  /** The number of a frame that is sent; frame 0 begins the session. */
  readonly turn: number;
  readonly canWrite: boolean;
}

const READS: ReadonlySet<number> = new Set([
  Op.get,
  Op.getMany,
  Op.scan,
  Op.scanNext,
  Op.scanClose,
  Op.stats,
  Op.snapshot,
  Op.snapshotClose,
  Op.count,
  Op.approximateSize,
  Op.verify,
  Op.watch,
  Op.watchNext,
  Op.watchClose,
  Op.export,
  Op.exportNext,
  Op.exportClose,
]);

const WRITES: ReadonlySet<number> = new Set([Op.write, Op.flush, Op.compact]);

/** Why a visitor's request does not go to the engine; `undefined` where it does. */
function refusalOf({ op }: Entry, canWrite: boolean): TempestError | undefined {
  if (READS.has(op)) return undefined;
  if (!WRITES.has(op)) return new TempestError('TEMPEST_NOT_SUPPORTED', 'this is not done over HTTP');
  return canWrite ? undefined : new TempestError('TEMPEST_UNAUTHORIZED', 'this token may read only');
}

/** The replies to a frame that no session takes: the same error for every call. Where it is no frame, one that says so. */
export function refuseAll(frame: Uint8Array, error: TempestError): ArrayBuffer {
  try {
    return errorReply(
      entriesOf(frame).map(({ id }) => id),
      error,
    ).buffer;
  } catch (cause) {
    if (!(cause instanceof FrameError)) throw cause;
    return malformed(cause);
  }
}

function malformed(cause: FrameError): ArrayBuffer {
  return errorReply([MALFORMED_ID], new TempestError('TEMPEST_INVALID_ARGUMENT', cause.message)).buffer;
}

/** One session. */
class Visitor {
  readonly #sessions: Sessions;
  readonly #mailbox = new Mailbox();
  readonly #number: number;

  /** The number of the frame that comes next. */
  turn = 0;
  usedMillis = 0;

  constructor(sessions: Sessions) {
    this.#sessions = sessions;
    this.#number = sessions.begin(this.#mailbox);
  }

  /** Sends what of the frame may be sent, and answers with the reply frames that are here at once. */
  send(frame: Uint8Array, entries: readonly Entry[], canWrite: boolean): ArrayBuffer {
    this.#mailbox.check();
    const allowed = new FrameWriter();
    for (const entry of entries) {
      const refusal = refusalOf(entry, canWrite);
      if (refusal === undefined) {
        const mark = allowed.length;
        allowed.raw(frame.subarray(entry.start, entry.end));
        allowed.end(mark);
      } else {
        const reply = errorReply([entry.id], refusal);
        this.#mailbox.sent(reply);
        this.#mailbox.reply(reply);
      }
    }
    if (!allowed.isEmpty) {
      const sent = allowed.finish();
      this.#sessions.send(this.#number, sent);
      this.#mailbox.sent(sent);
    }
    return this.#mailbox.take();
  }

  /** Answers with reply frames as soon as there are any; after a while with none, for a connection that is silent is cut. */
  async receive(): Promise<ArrayBuffer> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    await Promise.race([this.#mailbox.arrival(), new Promise((resolve) => (timer = setTimeout(resolve, VISIT_WAIT_MILLIS)))]);
    clearTimeout(timer);
    return this.#mailbox.take();
  }

  end(): void {
    this.#sessions.end(this.#number);
    this.#mailbox.died(ended());
  }
}

function ended(): TempestError {
  return new TempestError('TEMPEST_CLOSED', 'the session has ended');
}

/** The sessions over HTTP of one engine. One that is not used for a while is ended. */
export class Visitors {
  readonly #sessions: Sessions;
  readonly #now: () => number;

  /** By their names; the one used last is last. */
  readonly #visitors = new Map<string, Visitor>();

  constructor(sessions: Sessions, now: () => number = Date.now) {
    this.#sessions = sessions;
    this.#now = now;
  }

  /**
   * Does what a request asks for, and answers with reply frames, one behind the other.
   *
   * Each frame is taken once, and in its turn: a browser may send a request again of which it does not know that it came, and requests may overtake
   * each other. Rejects with `TEMPEST_CLOSED` where the session has ended, and where this is not its next frame.
   */
  async visit({ session, does, turn, canWrite }: Visit, frame: Uint8Array): Promise<ArrayBuffer> {
    this.sweep();
    if (does === 'close') {
      this.#end(session);
      return new ArrayBuffer(0);
    }
    if (does === 'receive') return this.#use(session, this.#visitors.get(session)).receive();
    let entries: Entry[];
    try {
      entries = entriesOf(frame);
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      return malformed(error);
    }
    const known = this.#visitors.get(session);
    const visitor = this.#use(session, known ?? (turn === 0 ? new Visitor(this.#sessions) : undefined));
    if (visitor.turn !== turn) {
      this.#end(session);
      throw ended();
    }
    visitor.turn++;
    return visitor.send(frame, entries, canWrite);
  }

  #use(name: string, visitor: Visitor | undefined): Visitor {
    if (visitor === undefined) throw ended();
    this.#visitors.delete(name);
    this.#visitors.set(name, visitor);
    visitor.usedMillis = this.#now();
    if (this.#visitors.size > MAX_VISITORS) this.#end(this.#visitors.keys().next().value!);
    return visitor;
  }

  #end(name: string): void {
    this.#visitors.get(name)?.end();
    this.#visitors.delete(name);
  }

  /** Ends the sessions that nobody has used for a while. */
  sweep(): void {
    const oldest = this.#now() - VISITOR_IDLE_MILLIS;
    for (const [name, { usedMillis }] of this.#visitors) {
      if (usedMillis >= oldest) return;
      this.#end(name);
    }
  }
}
