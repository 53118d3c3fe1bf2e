// Package api serves stores over HTTP. docs/HTTP.md describes the interface,
// docs/openapi.json says it for programs. The package knows no Worker and no
// JavaScript: a Handler is an http.Handler like any other.
package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"tempestkv/kv/base"
)

// Limits of the interface.
const (
	// DefaultBodyBytes is the largest body of a request, in bytes, where Config
	// does not say.
	DefaultBodyBytes = 8 << 20

	// MaxBodyBytes is the most that Config can say: a frame to the object is at
	// most 16 MiB.
	MaxBodyBytes = 15 << 20

	// MaxStoreName is the longest name of a store in characters.
	MaxStoreName = 100

	// MaxPageLimit is the largest limit of a page of rows.
	MaxPageLimit = 1000

	defaultPageLimit = 100

	// MaxConditions is how many conditions a batch has at most.
	MaxConditions = 100
)

// Config configures a Handler.
type Config struct {
	// Open returns the store of this name, which is made by its first write.
	Open func(name string) (Store, error)

	// Tokens may read and write, ReadTokens read. Where there are none nobody
	// may: nothing is open by default.
	Tokens, ReadTokens []string

	// Origins are the origins of pages that may call; "*" is any. None by
	// default.
	Origins []string

	// BodyBytes is the largest body of a request in bytes, DefaultBodyBytes
	// where it is 0, at most MaxBodyBytes.
	BodyBytes int64

	// Now is the clock by which values expire. Default time.Now.
	Now func() time.Time

	// Pause returns a channel that tells when a watch that had nothing to say
	// should show that it is alive. Default 15 seconds from the call.
	Pause func() <-chan time.Time
}

// Handler serves stores over HTTP.
type Handler struct {
	config Config
	tokens []token
}

type token struct {
	sum      [sha256.Size]byte
	canWrite bool
}

// New returns a Handler.
func New(config Config) *Handler {
	if config.BodyBytes <= 0 {
		config.BodyBytes = DefaultBodyBytes
	}
	config.BodyBytes = min(config.BodyBytes, MaxBodyBytes)
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Pause == nil {
		config.Pause = func() <-chan time.Time { return time.After(15 * time.Second) }
	}
	h := &Handler{config: config}
	for _, t := range config.Tokens {
		h.tokens = append(h.tokens, token{sha256.Sum256([]byte(t)), true})
	}
	for _, t := range config.ReadTokens {
		h.tokens = append(h.tokens, token{sha256.Sum256([]byte(t)), false})
	}
	return h
}

var _ http.Handler = (*Handler)(nil)

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// In a Worker a panic would leave the caller without any answer.
	defer func() {
		if recover() != nil {
			refuse(w, fault(http.StatusInternalServerError, codeInternal, "the router failed"))
		}
	}()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "private, no-cache")
	if h.cors(w, r) {
		return
	}
	if err := h.serve(w, r); err != nil {
		refuse(w, err)
	}
}

// cors says who may read the answer, and answers a preflight itself.
func (h *Handler) cors(w http.ResponseWriter, r *http.Request) (answered bool) {
	header := w.Header()
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	allowed := origin != "" && (slices.Contains(h.config.Origins, origin) || slices.Contains(h.config.Origins, "*"))
	if allowed {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Expose-Headers", "ETag, Retry-After")
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if !allowed {
		refuse(w, fault(http.StatusForbidden, codeForbidden, "pages of this origin may not call"))
		return true
	}
	header.Set("Access-Control-Allow-Methods", "GET, HEAD, PUT, POST, DELETE")
	header.Set("Access-Control-Allow-Headers",
		"Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, "+sessionHeader+", "+ttlHeader+", "+turnHeader)
	header.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// call is one request on its way.
type call struct {
	*Handler
	w        http.ResponseWriter
	r        *http.Request
	store    Store
	key      []byte
	canWrite bool // what the token allows
}

// route is a method of a path.
type route struct {
	method string
	write  bool
	serve  func(*call) error
}

// The paths under /v1/, and their methods.
var (
	storeRoutes = []route{{http.MethodGet, false, (*call).list}}
	batchRoutes = []route{{http.MethodPost, true, (*call).batch}}
	watchRoutes = []route{{http.MethodGet, false, (*call).watch}}

	// Whether one of its requests may write is looked at one by one.
	framesRoutes = []route{{http.MethodPost, false, (*call).frames}}

	keyRoutes = []route{
		{http.MethodGet, false, (*call).get},
		{http.MethodHead, false, (*call).get},
		{http.MethodPut, true, (*call).put},
		{http.MethodDelete, true, (*call).delete},
	}
)

var errReadToken = fault(http.StatusForbidden, codeForbidden, "this token may read only")

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) error {
	// Before anything else, so that a stranger learns nothing.
	canWrite, err := h.authorize(w, r)
	if err != nil {
		return err
	}
	c := &call{Handler: h, w: w, r: r, canWrite: canWrite}
	name, routes, err := c.find()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(routes, func(o route) bool { return o.method == r.Method })
	if i < 0 {
		var methods []string
		for _, o := range routes {
			methods = append(methods, o.method)
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return fault(http.StatusMethodNotAllowed, codeMethod, r.Method+" is no method of this path")
	}
	if routes[i].write && !canWrite {
		return errReadToken
	}
	if c.store, err = h.config.Open(name); err != nil {
		return err
	}
	return routes[i].serve(c)
}

// authorize looks for a token among those it knows. It compares all of them,
// each in constant time, so that time tells nothing.
func (h *Handler) authorize(w http.ResponseWriter, r *http.Request) (canWrite bool, err error) {
	scheme, given, _ := strings.Cut(headerOf(r, "Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(given)))
	canRead := 0
	write := 0
	for _, t := range h.tokens {
		same := subtle.ConstantTimeCompare(sum[:], t.sum[:])
		canRead |= same
		if t.canWrite {
			write |= same
		}
	}
	if canRead == 0 || !strings.EqualFold(scheme, "Bearer") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="tempestkv"`)
		return false, fault(http.StatusUnauthorized, codeUnauthorized, "a known bearer token is required")
	}
	return write == 1, nil
}

// headerOf returns a header whole, also where its parts between commas were
// taken for headers of their own, as the Worker's library does.
func headerOf(r *http.Request, name string) string {
	return strings.Join(r.Header.Values(name), ",")
}

// find returns the store that the path names, and the methods of the path.
func (c *call) find() (store string, routes []route, err error) {
	rest, ok := strings.CutPrefix(c.r.URL.EscapedPath(), "/v1/")
	if !ok {
		return "", nil, fault(http.StatusNotFound, codeNoRoute, "paths begin with /v1/")
	}
	name, key, hasKey := strings.Cut(rest, "/")
	if name, err = url.PathUnescape(name); err != nil || !isStoreName(name) {
		return "", nil, malformed("a store's name is 1 to 100 of A-Z a-z 0-9 . _ -, the first no dot")
	}
	if !hasKey {
		return name, storeRoutes, nil
	}
	switch {
	case key == "batch" && c.r.Method == http.MethodPost:
		return name, batchRoutes, nil
	case key == "frames" && c.r.Method == http.MethodPost:
		return name, framesRoutes, nil
	case key == "watch" && accepts(c.r, "text/event-stream"):
		return name, watchRoutes, nil
	case strings.Contains(key, "/"):
		return "", nil, malformed("a slash in a key is written %2F")
	}
	if key, err = url.PathUnescape(key); err != nil {
		return "", nil, malformed("a key with a malformed escape")
	}
	switch {
	case key == "":
		return "", nil, malformed("the empty key has no path of its own; use a batch and a scan")
	case key == "." || key == "..":
		return "", nil, malformed("the keys . and .. have no paths of their own; use a batch and a scan")
	case len(key) > base.MaxKeyBytes:
		return "", nil, fault(http.StatusRequestURITooLong, codeInvalidKey, "a key is at most 64 KiB")
	case strings.HasPrefix(key, base.ReservedPrefix):
		return "", nil, fault(http.StatusBadRequest, codeInvalidKey, "keys that begin with FF FF are the store's own")
	}
	c.key = []byte(key)
	return name, keyRoutes, nil
}

func isStoreName(name string) bool {
	if name == "" || len(name) > MaxStoreName || name[0] == '.' {
		return false
	}
	for _, b := range []byte(name) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}

// accepts reports whether the request names this media type, by itself and not
// by a wildcard, as one it takes.
func accepts(r *http.Request, media string) bool {
	for part := range strings.SplitSeq(headerOf(r, "Accept"), ",") {
		name, params, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), media) {
			return !isZeroQuality(params)
		}
	}
	return false
}

// acceptsAlso reports whether the request takes this media type, by its name or
// by a wildcard, or does not say what it takes.
func acceptsAlso(r *http.Request, media string) bool {
	if headerOf(r, "Accept") == "" {
		return true
	}
	family, _, _ := strings.Cut(media, "/")
	return accepts(r, media) || accepts(r, family+"/*") || accepts(r, "*/*")
}

func isZeroQuality(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		if q, ok := strings.CutPrefix(strings.ReplaceAll(p, " ", ""), "q="); ok {
			return strings.Trim(q, "0.") == ""
		}
	}
	return false
}
