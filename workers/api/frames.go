package api

import (
	"net/http"
	"strconv"

	"tempestkv/workers/frames"
)

const (
	mediaFrames = "application/x-tempestkv-frames"

	// sessionHeader names the session of a request with frames, turnHeader is the
	// number of the frame in it.
	sessionHeader = "Tempest-Session"
	turnHeader    = "Tempest-Turn"

	// sessionDigits is how many hexadecimal digits name a session: 128 bits.
	sessionDigits = 32

	// maxTurn is the largest number that JavaScript counts to.
	maxTurn = 1<<53 - 1
)

// frames answers POST of frames: a request of the package's own client, which
// keeps a session. docs/HTTP.md, Frames, describes it.
func (c *call) frames() error {
	q := readQuery(c.r, "do")
	if q.err != nil {
		return q.err
	}
	visit := &Visit{Does: VisitSend, Session: headerOf(c.r, sessionHeader), CanWrite: c.canWrite}
	if q.values.Has("do") {
		visit.Does = q.values.Get("do")
	}
	if !isSession(visit.Session) {
		return malformed(sessionHeader + " is " + strconv.Itoa(sessionDigits) + " hexadecimal digits, in small letters")
	}
	switch visit.Does {
	case VisitReceive, VisitClose:
	case VisitDestroy:
		if !c.canWrite {
			return errReadToken
		}
	case VisitSend:
		if headerOf(c.r, "Content-Type") != mediaFrames {
			return fault(http.StatusUnsupportedMediaType, codeMediaType, "a frame is "+mediaFrames)
		}
		turn, err := strconv.ParseUint(headerOf(c.r, turnHeader), 10, 64)
		if err != nil || turn > maxTurn {
			return malformed(turnHeader + " is the number of the frame, from 0")
		}
		visit.Turn = turn
		if visit.Frame, err = c.body(); err != nil {
			return err
		}
		if !frames.IsRequest(visit.Frame) {
			return malformed("the body is no request frame")
		}
	default:
		return malformed("do is " + VisitSend + ", " + VisitReceive + ", " + VisitClose + " or " + VisitDestroy)
	}
	replies, err := c.store.Visit(c.r.Context(), visit)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", mediaFrames)
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(replies)
	return nil
}

func isSession(name string) bool {
	for _, b := range []byte(name) {
		if !('0' <= b && b <= '9' || 'a' <= b && b <= 'f') {
			return false
		}
	}
	return len(name) == sessionDigits
}
