package capture

// Bounds of one direction of one connection.
const (
	// maxStream is the longest ClientHello the parser takes (256 KiB) with its record headers, and as much again as a client's
	// certificate chain may need.
	maxStream = 384 << 10
	// maxAhead is how far behind a gap segments are kept. Loopback hardly reorders; more is a lost packet.
	maxAhead = 128 << 10
)

// stream puts one direction of a TCP connection together from its SYN. Packets that come twice, as they do on loopback
// (once leaving, once arriving) and when TCP repeats itself, change nothing.
type stream struct {
	open  bool
	next  uint32 // sequence number of the first byte that is missing
	data  []byte
	limit int // data is kept up to this; 0 is maxStream
	ahead map[uint32][]byte
	held  int // bytes in ahead
}

// syn starts the stream: the first byte of data has the number after the SYN's.
func (s *stream) syn(seq uint32) {
	if !s.open {
		s.open, s.next = true, seq+1
	}
}

// add takes a segment and returns by how many bytes the memory held grew.
func (s *stream) add(seq uint32, payload []byte) (grown int) {
	if !s.open || len(payload) == 0 || s.full() {
		return 0
	}
	before := len(s.data) + s.held
	s.insert(seq, payload)
	for len(s.ahead) > 0 {
		moved := false
		for at, p := range s.ahead {
			if int32(at-s.next) <= 0 { // sequence numbers wrap: RFC 9293 section 3.4
				delete(s.ahead, at)
				s.held -= len(p)
				s.insert(at, p)
				moved = true
				break
			}
		}
		if !moved {
			break
		}
	}
	if s.full() {
		s.ahead, s.held = nil, 0
	}
	return len(s.data) + s.held - before
}

func (s *stream) insert(seq uint32, payload []byte) {
	gap := int32(seq - s.next)
	switch {
	case gap > 0:
		if s.held+len(payload) <= maxAhead && gap <= maxAhead && len(s.ahead[seq]) < len(payload) {
			if s.ahead == nil {
				s.ahead = map[uint32][]byte{}
			}
			s.held += len(payload) - len(s.ahead[seq])
			s.ahead[seq] = append([]byte(nil), payload...)
		}
	case -int(gap) < len(payload):
		fresh := payload[-gap:]
		s.next += uint32(len(fresh))
		if room := s.bound() - len(s.data); len(fresh) > room {
			fresh = fresh[:room]
		}
		s.data = append(s.data, fresh...)
	}
}

func (s *stream) bound() int {
	if s.limit > 0 {
		return min(s.limit, maxStream)
	}
	return maxStream
}

func (s *stream) full() bool { return len(s.data) >= s.bound() }

// drop lets go of the bytes and takes no more; it returns how many were held.
func (s *stream) drop() int {
	n := len(s.data) + s.held
	*s = stream{}
	return n
}
