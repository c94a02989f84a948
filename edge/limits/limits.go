// Package limits holds clients to what one address and one user may have of an
// edge: connections, frames and octets, failed sign-ins; and it keeps the bans of
// addresses that go on regardless. All of it is in memory, bounded, and this
// edge's alone. It closes and refuses nothing itself: edge/gateway asks it for
// each connection, edge/session for each frame.
package limits

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the limits; zero is none. What is meant a second may be used five
// seconds' worth at once.
type Options struct {
	// Of one address; an IPv6 network of 64 bits is one, since that is what one
	// client is given.
	Connections  int // at once
	Connects     int // new connections a second
	Frames       int // a second, over all its connections
	Octets       int // a second, headers included
	AuthFailures int // sign-ins that fail, a minute; beyond: a pause, which doubles with each failure

	// Of one user.
	UserSessions int // at once
	UserFrames   int // a second, over all its sessions
	UserOctets   int // a second

	// Ban is how long an address is shut out when a connection of it was closed
	// for flooding. It doubles with every repetition, up to BanMax. 0: not at all.
	Ban    time.Duration
	BanMax time.Duration // 0: an hour

	Exempt []netip.Prefix // addresses that nothing of an address holds for
}

const (
	window      = 5 * time.Second  // of a rate that may be used at once
	longestBody = 128 << 10        // octets that pass at once whatever the rate: a frame must
	firstPause  = 6 * time.Second  // after a failed sign-in beyond the limit
	maxPause    = 15 * time.Minute // and after many
	forgive     = 10 * time.Minute // without a ban, after which the next is a first one again, at least
	calmed      = time.Minute      // without a refusal, after which those before count no more
	stripes     = 64
	maxIdle     = 1 << 16 // addresses and users remembered without a connection
	maxBans     = 1 << 16 // bans, running or remembered; beyond it some are forgotten
	swept       = 3       // entries looked at for each new connection
)

func (o *Options) validate() error {
	if min(o.Connections, o.Connects, o.Frames, o.Octets, o.AuthFailures, o.UserSessions, o.UserFrames, o.UserOctets) < 0 ||
		min(o.Ban, o.BanMax) < 0 {
		return errors.New("limits: a limit is negative")
	}
	return nil
}

// Guard is the limits with what they have seen. It is safe for concurrent use,
// and a nil Guard limits nothing.
type Guard struct {
	opts  Options
	began time.Time

	ofAddress, ofUser rates
	parts             [stripes]stripe
	bans              bans

	refused, banned, limited atomic.Int64
}

// Stats is what a guard has counted.
type Stats struct {
	Refused int64 // connections over an address's limits
	Banned  int64 // connections of banned addresses
	Limited int64 // frames refused
	Bans    int64 // addresses that are banned now
}

// rates is what one kind of peer may use, in nanoseconds: what a frame and an
// octet cost, and how much may be used at once. A cost of 0 is no limit.
type rates struct {
	frame, frames int64
	octets        int64 // a second
	octetsAtOnce  int64
}

func newRates(frames, octets int) rates {
	r := rates{frames: int64(window), octets: int64(octets)}
	if frames > 0 {
		r.frame = int64(time.Second) / int64(frames)
	}
	if octets > 0 {
		r.octetsAtOnce = max(int64(window), longestBody*int64(time.Second)/int64(octets))
	}
	return r
}

// New returns a guard.
func New(o Options) (*Guard, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.BanMax == 0 {
		o.BanMax = time.Hour
	}
	g := &Guard{opts: o, began: time.Now(), ofAddress: newRates(o.Frames, o.Octets), ofUser: newRates(o.UserFrames, o.UserOctets)}
	for i := range g.parts {
		g.parts[i].peers = make(map[key]*Peer)
	}
	g.bans.list = make(map[key]*ban)
	return g, nil
}

func (g *Guard) now() int64 { return int64(time.Since(g.began)) }

// key names an address or a user.
type key struct {
	high, low uint64
	user      bool
}

func addressKey(a netip.Addr) key {
	b := a.As16()
	k := key{high: be64(b[:8]), low: be64(b[8:])}
	if a.Is6() && !a.Is4In6() {
		k.low = 0
	}
	return k
}

func be64(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// prefix is the network that counts as one address.
func prefix(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return netip.PrefixFrom(a, 32)
	}
	return netip.PrefixFrom(a, 64).Masked()
}

func (k key) hash() int {
	h := (k.high ^ k.low*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	return int(h >> 58)
}

// stripe is a part of the peers.
type stripe struct {
	mu    sync.Mutex // guards all below, and the peers' fields that say so
	peers map[key]*Peer
	idle  int // of them without a connection
	_     [40]byte
}

// Peer is an address, or a user, with a connection here. Its methods are safe for
// concurrent use; a nil Peer is not limited.
type Peer struct {
	guard   *Guard
	key     key
	address netip.Prefix // not valid: a user
	rates   *rates

	frames, octets meter
	excess         atomic.Int64 // frames refused, less those let pass, over all connections
	refusedAt      atomic.Int64 // the last of them

	// Guarded by the stripe's mu.
	conns    int
	connects meter
	failures meter
	pause    int64 // the last one after a failed sign-in; 0: none
	until    int64 // when it ends
}

// meter is a rate in use: the moment at which all that was used is paid for.
type meter struct{ paid atomic.Int64 }

// take uses cost. When more than atOnce would be owed then, nothing is used, and
// wait is how long it takes until it would pass.
func (m *meter) take(now, cost, atOnce int64) (wait int64) {
	for {
		paid := m.paid.Load()
		then := max(paid, now) + cost
		if then-now > atOnce {
			return then - now - atOnce
		}
		if m.paid.CompareAndSwap(paid, then) {
			return 0
		}
	}
}

// Connect lets a connection of address in; ok is false when the address is banned
// or has as many as it may have. Leave gives a peer back. It is nil when nothing
// is limited for it.
func (g *Guard) Connect(address netip.Addr) (p *Peer, ok bool) {
	if g == nil || !address.IsValid() {
		return nil, true
	}
	address = address.Unmap()
	if slices.ContainsFunc(g.opts.Exempt, func(n netip.Prefix) bool { return n.Contains(address) }) {
		return nil, true
	}
	k, now := addressKey(address), g.now()
	if g.bans.holds(k, now) {
		g.banned.Add(1)
		return nil, false
	}
	if p, ok = g.enter(k, prefix(address), g.opts.Connections, g.opts.Connects, now); !ok {
		g.refused.Add(1)
	}
	return p, ok
}

// User lets a session of a user in, as Connect does.
func (g *Guard) User(id int64) (p *Peer, ok bool) {
	if g == nil || g.opts.UserSessions == 0 && g.opts.UserFrames == 0 && g.opts.UserOctets == 0 {
		return nil, true
	}
	return g.enter(key{low: uint64(id), user: true}, netip.Prefix{}, g.opts.UserSessions, 0, g.now())
}

// enter takes one of `atOnce` places, and one of the new ones a second.
func (g *Guard) enter(k key, address netip.Prefix, atOnce, aSecond int, now int64) (*Peer, bool) {
	part := &g.parts[k.hash()]
	part.mu.Lock()
	defer part.mu.Unlock()
	part.sweep(now)
	p := part.peers[k]
	if p == nil {
		p = &Peer{guard: g, key: k, address: address, rates: &g.ofAddress}
		if k.user {
			p.rates = &g.ofUser
		}
		part.peers[k] = p
		part.idle++
	}
	if atOnce > 0 && p.conns >= atOnce {
		return nil, false
	}
	if aSecond > 0 && p.connects.take(now, int64(time.Second)/int64(aSecond), int64(window)) > 0 {
		return nil, false
	}
	if p.conns == 0 {
		part.idle--
	}
	p.conns++
	return p, true
}

// sweep forgets a few of those that have no connection and owe nothing.
func (s *stripe) sweep(now int64) {
	looked := 0
	for k, p := range s.peers {
		if p.conns == 0 && p.settled(now) {
			delete(s.peers, k)
			s.idle--
		}
		if looked++; looked == swept {
			return
		}
	}
}

// settled reports whether a new peer would be treated alike.
func (p *Peer) settled(now int64) bool {
	return max(p.frames.paid.Load(), p.octets.paid.Load(), p.connects.paid.Load(), p.failures.paid.Load(), p.forgotten(), p.calm()) <= now
}

// Leave gives the place of one connection back.
func (p *Peer) Leave() {
	if p == nil {
		return
	}
	part := &p.guard.parts[p.key.hash()]
	part.mu.Lock()
	defer part.mu.Unlock()
	if p.conns--; p.conns > 0 {
		return
	}
	part.idle++
	if part.idle > maxIdle/stripes || p.settled(p.guard.now()) {
		delete(part.peers, p.key)
		part.idle--
	}
}

// Take uses one frame of so many octets. When that is too much it uses nothing,
// and wait is how long it takes until it would pass.
func (p *Peer) Take(octets int) (wait time.Duration) {
	if p == nil {
		return 0
	}
	r, now := p.rates, int64(0)
	if r.frame > 0 || r.octets > 0 {
		now = p.guard.now()
	}
	if r.frame > 0 {
		if w := p.frames.take(now, r.frame, r.frames); w > 0 {
			p.guard.limited.Add(1)
			return time.Duration(w)
		}
	}
	if r.octets > 0 {
		if w := p.octets.take(now, int64(octets)*int64(time.Second)/r.octets, r.octetsAtOnce); w > 0 {
			p.frames.paid.Add(-r.frame)
			p.guard.limited.Add(1)
			return time.Duration(w)
		}
	}
	return 0
}

// Passed says that a frame of the address was let pass: it makes good a refused one.
func (p *Peer) Passed() {
	if p == nil {
		return
	}
	for n := p.excess.Load(); n > 0; n = p.excess.Load() {
		if p.excess.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// Refused says that a frame of the address was refused, by whatever limit. Whoever
// connects anew does not begin anew: it reports whether more were refused than let
// pass, by more than patience for each connection that the address has, since many
// clients may share it. Then the count begins again. 0: patience without end.
func (p *Peer) Refused(patience int) bool {
	if p == nil || patience == 0 {
		return false
	}
	now := p.guard.now()
	if p.calm() <= now {
		p.excess.Store(0)
	}
	p.refusedAt.Store(now)
	n := p.excess.Add(1)
	if n <= int64(patience) {
		return false
	}
	part := &p.guard.parts[p.key.hash()]
	part.mu.Lock()
	allowed := int64(patience) * int64(max(1, p.conns))
	part.mu.Unlock()
	return n > allowed && p.excess.CompareAndSwap(n, 0)
}

// calm is when the refusals so far count no more.
func (p *Peer) calm() int64 {
	if p.excess.Load() == 0 {
		return 0
	}
	return p.refusedAt.Load() + int64(calmed)
}

// MayAuth is how long the address must wait before it may sign in again.
func (p *Peer) MayAuth() (wait time.Duration) {
	if p == nil || p.guard.opts.AuthFailures == 0 {
		return 0
	}
	part := &p.guard.parts[p.key.hash()]
	part.mu.Lock()
	defer part.mu.Unlock()
	return time.Duration(max(0, p.until-p.guard.now()))
}

// AuthFailed says that a sign-in of the address has failed.
func (p *Peer) AuthFailed() {
	if p == nil || p.guard.opts.AuthFailures == 0 {
		return
	}
	part := &p.guard.parts[p.key.hash()]
	part.mu.Lock()
	defer part.mu.Unlock()
	now := p.guard.now()
	if p.forgotten() <= now {
		p.pause = 0
	}
	cost := int64(time.Minute) / int64(p.guard.opts.AuthFailures)
	if p.pause == 0 && p.failures.take(now, cost, int64(time.Minute)) == 0 {
		return
	}
	p.pause = min(max(2*p.pause, int64(firstPause)), int64(maxPause))
	p.until = now + p.pause
}

// forgotten is when the pauses begin to be short again: a minute after the last,
// or as long after it as it took.
func (p *Peer) forgotten() int64 {
	if p.pause == 0 {
		return 0
	}
	return p.until + max(p.pause, int64(time.Minute))
}

// Offend bans the address, a connection of which was closed for flooding.
func (p *Peer) Offend(reason string) {
	if p == nil || p.guard.opts.Ban == 0 {
		return
	}
	g := p.guard
	g.bans.add(p.key, p.address, reason, g.opts.Ban, g.opts.BanMax, g.now())
}

// Ban is an address that is shut out.
type Ban struct {
	Address netip.Prefix // 32 bits of IPv4, 64 of IPv6
	Until   time.Time
	Times   int    // bans of the address in a row, this one included
	Reason  string // of the last
}

// Bans lists the bans that run, the longest first.
func (g *Guard) Bans() []Ban {
	if g == nil {
		return nil
	}
	return g.bans.running(g.began, g.now())
}

// Unban lifts the ban of an address, and forgets that there was one; false: there
// was none.
func (g *Guard) Unban(address netip.Addr) bool {
	return g != nil && g.bans.lift(addressKey(address.Unmap()))
}

// Stats returns the counts of this moment.
func (g *Guard) Stats() Stats {
	if g == nil {
		return Stats{}
	}
	return Stats{Refused: g.refused.Load(), Banned: g.banned.Load(), Limited: g.limited.Load(), Bans: g.bans.count(g.now())}
}

// bans is the addresses that are shut out, or were not long ago.
type bans struct {
	any atomic.Bool // there is one: without, a look costs no lock

	mu   sync.Mutex // guards list
	list map[key]*ban
}

type ban struct {
	address   netip.Prefix
	reason    string
	times     int
	until     int64
	forgotten int64 // when it does not count any more
}

func (b *bans) holds(k key, now int64) bool {
	if !b.any.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.list[k]
	return at != nil && now < at.until
}

func (b *bans) add(k key, address netip.Prefix, reason string, first, longest time.Duration, now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.list[k]
	if at == nil {
		b.makeRoom()
		at = &ban{address: address}
		b.list[k] = at
	}
	if at.until > now {
		return // another connection that was open before the ban
	}
	if at.forgotten <= now {
		at.times = 0
	}
	length := longest
	if at.times < 32 {
		length = min(first<<at.times, longest)
	}
	at.times, at.reason = at.times+1, reason
	at.until = now + int64(length)
	at.forgotten = at.until + int64(max(forgive, length))
	b.any.Store(true)
}

// makeRoom forgets one ban when the table is full: of a few, the one that counts
// the shortest.
func (b *bans) makeRoom() {
	if len(b.list) < maxBans {
		return
	}
	var oldest key
	looked := 0
	for k, at := range b.list {
		if looked == 0 || at.forgotten < b.list[oldest].forgotten {
			oldest = k
		}
		if looked++; looked == swept {
			break
		}
	}
	delete(b.list, oldest)
}

func (b *bans) running(began time.Time, now int64) (out []Ban) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.list {
		if now < at.until {
			out = append(out, Ban{at.address, began.Add(time.Duration(at.until)), at.times, at.reason})
		}
	}
	slices.SortFunc(out, func(a, b Ban) int {
		return cmp.Or(b.Until.Compare(a.Until), a.Address.Addr().Compare(b.Address.Addr()))
	})
	return out
}

// count is how many run.
func (b *bans) count(now int64) (n int64) {
	if !b.any.Load() {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, at := range b.list {
		if now < at.until {
			n++
		}
	}
	return n
}

func (b *bans) lift(k key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, had := b.list[k]
	delete(b.list, k)
	b.any.Store(len(b.list) > 0)
	return had
}
