package capture

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// DefaultRecording bounds what a recording keeps, in bytes over all hops.
const DefaultRecording = 512 << 20

// Recording keeps every packet of some hops, for a person with Wireshark. Until it is stopped they lie in one file: which hop a
// connection belongs to, and the secrets that its file begins with, are known only then.
type Recording struct {
	hops  []Hop
	src   source
	done  chan struct{} // closed when the reader has ended
	unset func() bool   // takes back the watch over ctx

	// Of the reader, until done.
	spool *os.File
	out   *bufio.Writer
	kept  int64
	most  int64
	over  int // packets beyond most
	err   error
}

// Record records the hops on the loopback interface until Stop or the end of ctx; dir is for its spool. most bounds the bytes that
// are kept; 0 means [DefaultRecording]. The error is [ErrNotPermitted] when this process may not read packets.
func Record(ctx context.Context, hops []Hop, dir string, most int64) (*Recording, error) {
	return recordOn(ctx, hops, dir, most, openSocket)
}

func recordOn(ctx context.Context, hops []Hop, dir string, most int64, open func(string, []uint16) (source, error)) (*Recording, error) {
	if most <= 0 {
		most = DefaultRecording
	}
	spool, err := os.CreateTemp(dir, "capture-*.spool")
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	src, err := openHops(Loopback, hops, open)
	if err != nil {
		_ = spool.Close()
		return nil, errors.Join(err, os.Remove(spool.Name()))
	}
	r := &Recording{hops: hops, src: src, done: make(chan struct{}), spool: spool, out: bufio.NewWriterSize(spool, 1<<20), most: most}
	r.unset = context.AfterFunc(ctx, func() { _ = src.Close() })
	go r.read()
	return r, nil
}

// spoolHead is before each frame of the spool: when it came, in nanoseconds of Unix time, and its length.
const spoolHead = 8 + 4

func (r *Recording) read() {
	defer close(r.done)
	frame := make([]byte, spoolHead+maxFrame)
	for {
		n, err := r.src.Read(frame[spoolHead:])
		if err != nil {
			if !ends(err) {
				r.err = err
			}
			return
		}
		if r.kept+int64(n) > r.most {
			r.over++
			continue
		}
		r.kept += int64(n)
		binary.LittleEndian.PutUint64(frame, uint64(time.Now().UnixNano()))
		binary.LittleEndian.PutUint32(frame[8:], uint32(n))
		if _, err := r.out.Write(frame[:spoolHead+n]); err != nil {
			r.err = err
			return
		}
	}
}

// Stop ends the recording and writes a file for each hop of which there was a packet, PATH.HOP.pcapng, into dir; keys, which may be nil, is
// put into each, so that it decrypts itself. missed counts the packets that the kernel dropped or that were over the bound. The
// error says that the recording broke off; what came before it is written all the same. It is called once.
func (r *Recording) Stop(dir string, keys *KeyLog) (files []string, missed int, err error) {
	if err := r.src.SetReadDeadline(time.Now().Add(drain)); err != nil && !errors.Is(err, os.ErrClosed) {
		_ = r.src.Close() // then closing must end the reader
	}
	<-r.done
	r.unset()
	missed = r.over
	if c, ok := r.src.(interface{ Dropped() int }); ok {
		missed += c.Dropped()
	}
	_ = r.src.Close()
	defer func() { err = errors.Join(err, r.spool.Close(), os.Remove(r.spool.Name())) }()
	if r.err == nil {
		r.err = r.out.Flush()
	}
	if _, err := r.spool.Seek(0, io.SeekStart); err != nil {
		return nil, missed, fmt.Errorf("capture: %w", err)
	}
	var secrets []byte
	if keys != nil {
		secrets = keys.Bytes()
	}
	w := hopFiles{dir: dir, secrets: secrets, open: map[int]*hopFile{}}
	err = r.sort(&w)
	files, closeErr := w.close()
	return files, missed, errors.Join(r.err, err, closeErr)
}

// sort gives each frame of the spool to the file of its hop.
func (r *Recording) sort(w *hopFiles) error {
	in := bufio.NewReaderSize(r.spool, 1<<20)
	d := newDecoder()
	head, frame := make([]byte, spoolHead), make([]byte, maxFrame)
	for {
		if _, err := io.ReadFull(in, head); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // a write that failed may have left a part
				return nil
			}
			return fmt.Errorf("capture: %w", err)
		}
		n := min(binary.LittleEndian.Uint32(head[8:]), maxFrame)
		if _, err := io.ReadFull(in, frame[:n]); err != nil {
			return nil //nolint:nilerr // the same
		}
		if !d.decode(frame[:n]) {
			continue
		}
		f := flow{d.src, d.dst}
		hop := r.hop(f)
		if hop < 0 {
			f = flow{d.dst, d.src}
			hop = r.hop(f)
		}
		if hop < 0 {
			continue
		}
		at := time.Unix(0, int64(binary.LittleEndian.Uint64(head)))
		if err := w.write(r.hops, hop, at, frame[:n]); err != nil {
			return err
		}
	}
}

// hop is the index of the hop that a connection belongs to, -1 for none.
func (r *Recording) hop(f flow) int {
	for i, h := range r.hops {
		if h.leads(f.server) && (h.From == nil || h.From(f.client)) {
			return i
		}
	}
	return -1
}

// hopFiles are the files of a recording, opened with their first packet.
type hopFiles struct {
	dir     string
	secrets []byte
	open    map[int]*hopFile
}

type hopFile struct {
	name string
	file *os.File
	out  *bufio.Writer
	ng   *pcapgo.NgWriter
}

// unfit are the characters of a path or hop that a file's name goes without: "client->alb".
var unfit = regexp.MustCompile(`[^A-Za-z0-9_]+`)

func (w *hopFiles) write(hops []Hop, i int, at time.Time, frame []byte) error {
	f := w.open[i]
	if f == nil {
		var err error
		name := unfit.ReplaceAllString(hops[i].Path, "-") + "." + unfit.ReplaceAllString(hops[i].Name, "-") + ".pcapng"
		if f, err = w.create(name, hops[i]); err != nil {
			return err
		}
		w.open[i] = f
	}
	info := gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(frame), Length: len(frame)}
	if err := f.ng.WritePacket(info, frame); err != nil {
		return fmt.Errorf("capture %s: %w", f.name, err)
	}
	return nil
}

func (w *hopFiles) create(name string, h Hop) (*hopFile, error) {
	file, err := os.Create(filepath.Join(w.dir, name))
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	f := &hopFile{name: name, file: file, out: bufio.NewWriterSize(file, 1<<20)}
	f.ng, err = begin(f.out, pcapgo.NgInterface{
		Name: Loopback, Description: h.Name + " of path " + h.Path, LinkType: layers.LinkTypeEthernet, TimestampResolution: 9,
	}, w.secrets)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

func (w *hopFiles) close() (names []string, err error) {
	for _, i := range slices.Sorted(maps.Keys(w.open)) {
		f := w.open[i]
		names = append(names, f.name)
		err = errors.Join(err, f.ng.Flush(), f.out.Flush(), f.file.Close())
	}
	return names, err
}
