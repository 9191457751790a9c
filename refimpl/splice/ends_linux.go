package splice

import "context"

// ended is a tunnel that is no more.
type ended struct {
	done   func(Report)
	report Report
}

func (p *poller) abortAll() {
	p.mu.Lock()
	pairs := p.pairs
	p.pairs = nil
	p.mu.Unlock()
	for _, x := range pairs {
		if x == nil {
			continue
		}
		if x.opening != nil {
			x.opening.timer.Stop()
		}
		x.drop(&p.pipes)
		x.abort()
		p.end(x, x.report(EndCancelled, context.Canceled))
	}
	close(p.endings)
}

// end has the tunnel's owner told. That may take its time, for the owner writes a log line: tellEnds does it, of many at once.
func (p *poller) end(x *pair, r Report) {
	p.mu.Lock()
	p.ended = append(p.ended, ended{x.done, r})
	p.mu.Unlock()
	select {
	case p.endings <- struct{}{}:
	default: // it is yet to look
	}
}

func (p *poller) tellEnds() {
	for more := true; more; {
		_, more = <-p.endings
		p.mu.Lock()
		ends := p.ended
		p.ended = nil
		p.mu.Unlock()
		for _, e := range ends {
			e.done(e.report)
		}
	}
}
