package clients

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// doors are the two ways for ssh through a proxy: a local port, and the proxy as its ProxyCommand.
var doors = []string{"by-port", "by-command"}

// sshConfig writes a configuration with a host for each of doors and returns the flags that take it. Straight, both are the server's port.
func (s *session) sshConfig(route, backend string) []string {
	s.t.Helper()
	b, port := s.lab.backend(backend), s.port("ssh", route, backend)
	command := "Port " + port
	if s.path != "" {
		command = fmt.Sprintf("ProxyCommand %s proxy ssh --stdio --ready-from %s --router %s --route %s", s.lab.program, s.lab.readyFile, router(s.path), route)
	}
	s.write("known_hosts", "backend "+b.HostKey+"\n")
	s.write("ssh_config", fmt.Sprintf(`Host by-port
  Port %s
Host by-command
  %s
Host *
  HostName 127.0.0.1
  User %s
  IdentityFile %s
  IdentitiesOnly yes
  UserKnownHostsFile %s
  GlobalKnownHostsFile none
  HostKeyAlias backend
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 60
`, port, command, b.User, b.Identity, filepath.Join(s.dir, "known_hosts")))
	return []string{"-F", filepath.Join(s.dir, "ssh_config")}
}

// remote names a place on the server that is the session's, where sftp begins: what is put there is removed with the server.
func (s *session) remote() string {
	s.t.Helper()
	folder := s.lab.backend("ssh").Folder
	if folder == "" {
		s.t.Fatal("the ready file names no folder of the ssh server")
	}
	folder += "/" + filepath.Base(s.dir)
	s.masks = append(s.masks, folder, "REMOTE")
	return folder
}

func sshSteps(s *session) {
	config := s.sshConfig("ssh", "ssh")
	long := strings.Repeat("a million bytes, or so\x00\xff\r\n", 40000)
	run := func(st step) {
		st.argv = append(append([]string{"ssh"}, config...), st.argv...)
		s.run(st)
	}
	for _, door := range doors {
		run(step{name: "output, errors and status " + door, argv: []string{door, "echo out; echo err >&2; exit 7"}, status: 7, prints: `^out\n$`, says: `^err\n$`})
		run(step{name: "there and back, and more at the end " + door, argv: []string{door, "cat; echo after; exit 3"}, stdin: long, status: 3, prints: `^a million(?s:.*)\nafter\n$`})
	}
	run(step{name: "input that nobody reads", argv: []string{"by-port", "exec 0<&-; echo enough"}, stdin: long, prints: `^enough\n$`})
	run(step{name: "ended by a signal", argv: []string{"by-port", "kill -TERM $$"}, status: 255})
	run(step{name: "who is not let in", argv: []string{"-l", "nobody", "by-port", "true"}, status: 255, says: `nobody@127.0.0.1: Permission denied \(publickey\)`})
	run(step{name: "a server that nobody knows", argv: []string{"-o", "HostKeyAlias=elsewhere", "by-command", "true"}, status: 255, says: `Host key verification failed`})
	run(step{name: "no such command", argv: []string{"by-command", "/no/such/command"}, status: 127, says: `/no/such/command`})
}

// tree makes files that a copy can get wrong: large, empty, executable, in folders, with a name that needs quoting.
func (s *session) tree() {
	s.t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	large := make([]byte, 1<<20+1)
	for i := range large {
		large[i] = byte(r.Uint32())
	}
	s.write("tree/large", string(large))
	s.write("tree/empty", "")
	s.write("tree/run", "#!/bin/sh\n")
	s.write("tree/folder/deeper/it's äöü, 数 $(x)", "a name\n")
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chmod(filepath.Join(s.dir, "tree/run"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(s.dir, "tree/run"), old, old); err != nil {
		s.t.Fatal(err)
	}
}

func scpSteps(s *session) {
	config := s.sshConfig("ssh", "ssh")
	folder := s.remote()
	s.tree()
	scp := append([]string{"scp", "-r", "-p"}, config...)
	old := append(scp[:len(scp):len(scp)], "-O") // the protocol of old, not that of sftp
	s.run(step{name: "there", argv: append(scp, "tree", "by-command:"+folder+"-new")})
	s.run(step{name: "and back", argv: append(scp, "by-command:"+folder+"-new", "back")})
	s.run(step{name: "there, as of old", argv: append(old, "tree", "by-port:"+folder+"-old")})
	s.run(step{name: "and back, as of old", argv: append(old, "by-port:"+folder+"-old", "back-old")})
	for _, folder := range []string{"back", "back-old"} {
		s.noteTree("what came "+folder, folder)
		s.sameTimes(folder)
	}
	s.run(step{name: "what is not there", argv: append(scp, "by-port:"+folder+"-nothing", "."), status: 1, says: `nothing: No such file or directory`})
}

// sameTimes checks that -p kept a file's time.
func (s *session) sameTimes(folder string) {
	s.t.Helper()
	was, err := os.Stat(filepath.Join(s.dir, "tree/run"))
	if err != nil {
		s.t.Fatal(err)
	}
	is, err := os.Stat(filepath.Join(s.dir, folder, "run"))
	if err != nil || !is.ModTime().Equal(was.ModTime()) {
		s.t.Errorf("%s/run is of %v, %v; want %v", folder, is.ModTime(), err, was.ModTime())
	}
}

func sftpSteps(s *session) {
	config := s.sshConfig("ssh", "ssh")
	folder := s.remote()
	s.tree()
	s.write("half", "1234567890")
	s.write("whole", "1234567890abcdefghij")
	sftp := func(door string) []string { return append(append([]string{"sftp", "-b", "-"}, config...), door) }
	s.run(step{name: "a batch", argv: sftp("by-port"), prints: `(?s)sftp> put -R.*run`, stdin: strings.Join([]string{
		"mkdir " + folder, "cd " + folder, "pwd", "put -R tree .", "ls -1 tree", "put half part", "reput whole part", "get part part", "chmod 600 tree/run",
		"rename tree/empty tree/void", "ln -s void tree/link", "get -R tree back", "rm tree/void", "-rm tree/void", "-get nothing",
	}, "\n")})
	s.noteTree("what came back", "back")
	s.noteTree("what was resumed", "part")
	s.run(step{name: "a batch that ends early", argv: sftp("by-command"), stdin: "get nothing\nmkdir " + folder + "-never\n", status: 1, says: `not found`})
}

// rsyncFigures are times, rates, and sizes of messages that have times in them.
var rsyncFigures = regexp.MustCompile(`(?m)^(File list|Total bytes|sent) .*$|speedup is .*`)

func rsyncSteps(s *session) {
	config := s.sshConfig("ssh", "ssh")
	folder := s.remote()
	s.tree()
	rsync := []string{"rsync", "-a", "--checksum-seed=7", "--stats", "-e", "ssh " + strings.Join(config, " ")}
	run := func(st step) {
		st.argv, st.figures = append(rsync, st.argv...), rsyncFigures
		s.run(st)
	}
	there := folder + "-there/"
	run(step{name: "there", argv: []string{"tree/", "by-command:" + there}, prints: `Literal data: 1,0`})
	// A change in the middle, and a file less: only what differs goes over.
	f, err := os.OpenFile(filepath.Join(s.dir, "tree/large"), os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("changed"), 1<<19)
	if err = errors.Join(err, f.Close(), os.Remove(filepath.Join(s.dir, "tree/empty"))); err != nil {
		s.t.Fatal(err)
	}
	run(step{name: "what changed", argv: []string{"--delete", "--ignore-times", "--no-whole-file", "tree/", "by-port:" + there}, prints: `Matched data: 1,0`})
	run(step{name: "and back", argv: []string{"--compress", "by-command:" + there, "back/"}})
	s.noteTree("what came back", "back")
	run(step{name: "what is not there", argv: []string{"by-port:" + folder + "-nothing", "."}, status: 23, says: `link_stat .* failed: No such file`})
	// rsync itself ends now and then before it has read why: straight 3 times of 60, on a busy machine.
	s.run(step{name: "where nobody may write", argv: append(rsync, "tree/run", "by-port:/proc/x/"), status: 11, figures: anything})
}
