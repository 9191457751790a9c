package bench

import (
	"crypto/ed25519"
	"crypto/md5"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/crypto/ssh"
)

// The smallest servers that the real clients can tell nothing against. answer changes what is sent back, to prove that it is
// compared: it is given the number and the right contents of a row, or the output of a command.
type answer func(n int, right []byte) []byte

func honest(_ int, right []byte) []byte { return right }

func md5Hex(n int) []byte {
	sum := md5.Sum([]byte(strconv.Itoa(n)))
	return []byte(hex.EncodeToString(sum[:]))
}

func fakePostgres(c net.Conn, change answer) error {
	be := pgproto3.NewBackend(c, c)
	if _, err := be.ReceiveStartupMessage(); err != nil {
		return err
	}
	be.Send(&pgproto3.AuthenticationOk{})
	be.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if err := be.Flush(); err != nil {
		return err
	}
	columns := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte("g"), DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1, Format: 1},
		{Name: []byte("md5"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1},
	}}
	var from, to uint32
	for {
		msg, err := be.Receive()
		if err != nil {
			return err
		}
		switch m := msg.(type) {
		case *pgproto3.Parse:
			if m.Query != postgresQuery {
				return fmt.Errorf("query %q", m.Query)
			}
			be.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				be.Send(&pgproto3.ParameterDescription{ParameterOIDs: []uint32{23, 23}})
			}
			be.Send(columns)
		case *pgproto3.Bind:
			from, to = binary.BigEndian.Uint32(m.Parameters[0]), binary.BigEndian.Uint32(m.Parameters[1])
			be.Send(&pgproto3.BindComplete{})
		case *pgproto3.Execute:
			for n := from; n <= to; n++ {
				if right := change(int(n), md5Hex(int(n))); right != nil {
					be.Send(&pgproto3.DataRow{Values: [][]byte{binary.BigEndian.AppendUint32(nil, n), right}})
				}
			}
			be.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT")})
		case *pgproto3.Sync:
			be.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			if err := be.Flush(); err != nil {
				return err
			}
		case *pgproto3.Terminate:
			return nil
		}
	}
}

var mysqlBounds = regexp.MustCompile(`SELECT (\d+) UNION ALL SELECT n\+1 FROM s WHERE n < (\d+)\)`)

func fakeMySQL(c net.Conn, change answer) error {
	seq := byte(0)
	send := func(p []byte) error {
		head := []byte{byte(len(p)), byte(len(p) >> 8), byte(len(p) >> 16), seq}
		seq++
		_, err := c.Write(append(head, p...))
		return err
	}
	recv := func() ([]byte, error) {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return nil, err
		}
		seq = head[3] + 1
		p := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
		_, err := io.ReadFull(c, p)
		return p, err
	}
	const caps = 1<<3 | 1<<9 | 1<<13 | 1<<15 | 1<<19 // connect with db, protocol 41, transactions, secure connection, plugin auth
	hello := append([]byte{10}, "8.0-fake\x00"...)
	hello = append(hello, 1, 0, 0, 0)
	hello = append(hello, "12345678\x00"...)
	hello = append(hello, byte(caps&0xff), byte(caps>>8&0xff), 45, 2, 0, byte(caps>>16&0xff), 0, 21)
	hello = append(hello, make([]byte, 10)...)
	hello = append(hello, "123456789012\x00mysql_native_password\x00"...)
	ok, eof := []byte{0, 0, 0, 2, 0, 0, 0}, []byte{0xfe, 0, 0, 2, 0}
	if err := send(hello); err != nil {
		return err
	}
	if _, err := recv(); err != nil {
		return err
	}
	if err := send(ok); err != nil {
		return err
	}
	str := func(s []byte) []byte { return append([]byte{byte(len(s))}, s...) }
	column := func(name string, typ byte) []byte {
		p := append(str([]byte("def")), 0, 0, 0)
		p = append(p, str([]byte(name))...)
		return append(p, 0, 0x0c, 45, 0, 64, 0, 0, 0, typ, 0, 0, 0, 0, 0)
	}
	for {
		p, err := recv()
		if err != nil || p[0] == 1 { // quit
			return err
		}
		m := mysqlBounds.FindSubmatch(p[1:])
		if m == nil {
			return fmt.Errorf("query %q", p[1:])
		}
		from, _ := strconv.Atoi(string(m[1]))
		to, _ := strconv.Atoi(string(m[2]))
		packets := [][]byte{{2}, column("n", 8), column("MD5(n)", 253), eof}
		for n := from; n <= to; n++ {
			if right := change(n, md5Hex(n)); right != nil {
				packets = append(packets, append(str([]byte(strconv.Itoa(n))), str(right)...))
			}
		}
		for _, p := range append(packets, eof) {
			if err := send(p); err != nil {
				return err
			}
		}
	}
}

// fakeSSH makes the server and the access to it.
func fakeSSH(t *testing.T) (func(net.Conn, answer) error, Access) {
	t.Helper()
	key := func() ssh.Signer {
		_, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ssh.NewSignerFromKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	host, client := key(), key()
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(client.PublicKey().Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	cfg.AddHostKey(host)
	serve := func(c net.Conn, change answer) error {
		sc, chans, reqs, err := ssh.NewServerConn(c, cfg)
		if err != nil {
			return err
		}
		defer func() { _ = sc.Close() }()
		go ssh.DiscardRequests(reqs)
		for nc := range chans {
			ch, creqs, err := nc.Accept()
			if err != nil {
				return err
			}
			for req := range creqs {
				if req.Type != "exec" {
					_ = req.Reply(false, nil)
					continue
				}
				_ = req.Reply(true, nil)
				in, err := io.ReadAll(ch)
				if err != nil {
					return err
				}
				out := in
				if string(req.Payload[4:]) == "sha256sum" {
					sum := sha256.Sum256(in)
					out = []byte(hex.EncodeToString(sum[:]) + "  -\n")
				}
				_, _ = ch.Write(change(len(in), out))
				_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
				_ = ch.Close()
			}
		}
		return nil
	}
	return serve, Access{User: "bench", SSHKey: client, HostKey: host.PublicKey()}
}
