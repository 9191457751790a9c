package clients

import (
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
func (s *session) sshConfig() []string {
	s.t.Helper()
	b, port := s.lab.backend("ssh"), s.port("ssh", "ssh", "ssh")
	command := "Port " + port
	if s.path != "" {
		command = fmt.Sprintf("ProxyCommand %s proxy ssh --stdio --ready-from %s --router %s --route ssh", s.lab.program, s.lab.readyFile, router(s.path))
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

// remote makes a folder on the server that is removed at the end.
func (s *session) remote(config []string) string {
	s.t.Helper()
	parent := s.lab.backend("ssh").Folder
	if parent == "" {
		parent = "/tmp"
	}
	ssh := func(command string) []string { return append(append([]string{"ssh"}, config...), "by-port", command) }
	folder := strings.TrimSpace(s.ask(ssh("mktemp -d " + parent + "/clients-XXXXXX")))
	if !strings.HasPrefix(folder, parent+"/clients-") {
		s.t.Fatalf("mktemp made %q", folder)
	}
	s.masks = append(s.masks, folder, "REMOTE")
	return folder
}

// ask runs something beside the steps.
func (s *session) ask(argv []string) string {
	s.t.Helper()
	saw := s.saw
	defer func() { s.saw = saw }()
	return s.run(step{name: "ask", argv: argv})
}

func sshSteps(s *session) {
	config := s.sshConfig()
	long := strings.Repeat("three million bytes, or so\x00\xff\r\n", 100000)
	other := filepath.Join(s.dir, "other")
	s.ask([]string{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other})
	for _, door := range doors {
		run := func(st step) {
			st.name += " " + door
			st.argv = append(append([]string{"ssh"}, config...), st.argv...)
			s.run(st)
		}
		run(step{name: "output, errors and status", argv: []string{door, "echo out; echo err >&2; exit 7"}, status: 7, prints: `^out\n$`, says: `^err\n$`})
		run(step{name: "input to its end", argv: []string{door, "wc -c; echo after; exit 3"}, stdin: long, status: 3, prints: fmt.Sprintf(`^%d\nafter\n$`, len(long))})
		run(step{name: "there and back", argv: []string{door, "cat"}, stdin: long, prints: `three million`})
		run(step{name: "input that nobody reads", argv: []string{door, "exec 0<&-; echo enough"}, stdin: long, prints: `^enough\n$`})
		run(step{name: "output for ever", argv: []string{door, "yes | head -c 2000000"}, prints: `y`})
		run(step{name: "ended by a signal", argv: []string{door, "kill -TERM $$"}, status: 255})
		run(step{name: "with a terminal", argv: []string{"-tt", door, "test -t 0 && echo a terminal; exit 5"}, status: 5, prints: `^a terminal\r\n$`})
		run(step{name: "a key that is not let in", argv: []string{"-o", "IdentityFile=none", "-i", other, door, "true"}, status: 255, says: `Permission denied \(publickey\)`})
		run(step{name: "a server that nobody knows", argv: []string{"-o", "HostKeyAlias=elsewhere", door, "true"}, status: 255, says: `Host key verification failed`})
		run(step{name: "no such command", argv: []string{door, "/no/such/command"}, status: 127, says: `/no/such/command`})
	}
}

// tree makes files that a copy can get wrong: large, empty, executable, in folders, with a name that needs quoting.
func (s *session) tree() {
	s.t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	large := make([]byte, 3<<20+1)
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

// arrived notes what is on the server, as sha256sum says there, straight.
func (s *session) arrived(folder string) {
	s.t.Helper()
	config := s.straight().sshConfig()
	list := s.ask(append(append([]string{"ssh"}, config...), "by-port", "cd "+folder+" && find . -printf '%p %M\\n' | sort && find . -type f -exec sha256sum {} + | sort"))
	s.note(outcome{Step: "what arrived", Stdout: list})
}

func scpSteps(s *session) {
	config := s.sshConfig()
	folder := s.remote(config)
	s.tree()
	for i, door := range append(doors, "by-port") {
		flags := append([]string{"scp", "-r", "-p"}, config...)
		if i == len(doors) {
			door, flags = "by-port", append(flags, "-O") // the protocol of old
		}
		way := fmt.Sprint(door, i)
		s.run(step{name: "there " + way, argv: append(flags, "tree", door+":"+folder+"/"+way)})
		s.run(step{name: "and back " + way, argv: append(flags, door+":"+folder+"/"+way, "back-"+way)})
		s.noteTree("what came back "+way, "back-"+way)
		s.sameTimes("back-" + way)
		s.run(step{name: "what is not there " + way, argv: append(flags, door+":"+folder+"/nothing", "."), status: 1, says: `No such file or directory`})
		s.run(step{name: "where nobody may write " + way, argv: append(flags, "tree/run", door+":/proc/run"), status: 1, says: `scp: .*/proc/run`})
	}
	s.arrived(folder)
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
	config := s.sshConfig()
	folder := s.remote(config)
	s.tree()
	s.write("half", "1234567890")
	s.write("whole", "1234567890abcdefghij")
	for _, door := range doors {
		sftp := append(append([]string{"sftp", "-b", "-"}, config...), door+":"+folder)
		s.run(step{name: "a batch " + door, argv: sftp, prints: `(?s)sftp> put -R.*run`, stdin: strings.Join([]string{
			"mkdir " + door, "cd " + door, "pwd", "put -R tree .", "ls -1 tree", "put half part", "reput whole part", "get part part-" + door, "chmod 600 tree/run",
			"rename tree/empty tree/void", "ln -s void tree/link", "get -R tree back-" + door, "rm tree/void", "-rm tree/void", "-get nothing",
		}, "\n")})
		s.noteTree("what came back "+door, "back-"+door)
		s.noteTree("what was resumed "+door, "part-"+door)
		s.run(step{name: "a batch that ends early " + door, argv: sftp, stdin: "get nothing\nmkdir never\n", status: 1, says: `not found`})
	}
	s.arrived(folder)
}

// rsyncFigures are times, rates, and sizes of messages that have times in them.
var rsyncFigures = regexp.MustCompile(`(?m)^(File list|Total bytes|sent) .*$|\(code \d+\).*`)

func rsyncSteps(s *session) {
	config := s.sshConfig()
	folder := s.remote(config)
	s.tree()
	large := filepath.Join(s.dir, "tree/large")
	for _, door := range doors {
		rsync := []string{"rsync", "-a", "--checksum-seed=7", "--stats", "-e", "ssh " + strings.Join(config, " ")}
		there := door + ":" + folder + "/" + door + "/"
		s.run(step{name: "there " + door, argv: append(rsync, "tree/", there), prints: `Literal data: 3,1`, figures: rsyncFigures})
		// A change in the middle, and a file less: only what differs goes over.
		f, err := os.OpenFile(large, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte("changed by "+door), 1<<20)
			f.Close()
		}
		if err == nil {
			err = os.Remove(filepath.Join(s.dir, "tree/empty"))
		}
		if err != nil {
			s.t.Fatal(err)
		}
		s.run(step{name: "what changed " + door, argv: append(rsync, "--delete", "--ignore-times", "--no-whole-file", "tree/", there), prints: `Matched data: 3,1`, figures: rsyncFigures})
		s.run(step{name: "and back " + door, argv: append(rsync, "--compress", there, "back-"+door+"/"), figures: rsyncFigures})
		s.noteTree("what came back "+door, "back-"+door)
		s.run(step{name: "what is not there " + door, argv: append(rsync, door+":"+folder+"/nothing", "."), status: 23, says: `link_stat .* failed: No such file`, figures: rsyncFigures})
		s.run(step{name: "where nobody may write " + door, argv: append(rsync, "tree/run", door+":/proc/x/"), status: 11, says: `rsync: .*/proc/x`, figures: rsyncFigures})
		s.write("tree/empty", "")
	}
	s.arrived(folder)
}
