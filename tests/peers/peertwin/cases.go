package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/raft/v3/raftpb"
)

const removedText = "the member has been permanently removed from the cluster"

// Ours leaves zeros out, etcd's codec keeps what was set: both are read alike.
func canonical(b []byte) string {
	var m raftpb.Message
	if err := proto.Unmarshal(b, &m); err != nil {
		return "unreadable"
	}
	zeros(&m)
	return string(marshal(&m))
}

func zeros(m *raftpb.Message) {
	clear := func(field **uint64) {
		if *field != nil && **field == 0 {
			*field = nil
		}
	}
	for _, f := range []**uint64{&m.To, &m.From, &m.Term, &m.LogTerm, &m.Index, &m.Commit, &m.RejectHint, &m.Vote} {
		clear(f)
	}
	if m.Reject != nil && !*m.Reject {
		m.Reject = nil
	}
	if len(m.Context) == 0 {
		m.Context = nil
	}
	for _, e := range m.Entries {
		if e.Type != nil && *e.Type == raftpb.EntryNormal {
			e.Type = nil
		}
		clear(&e.Term)
		clear(&e.Index)
		if len(e.Data) == 0 {
			e.Data = nil
		}
	}
}

// randomMessages are of every kind that travels, appends going on from each other as a leader's do.
func randomMessages(random *rand.Rand, from, to types.ID, count int) []*raftpb.Message {
	others := []raftpb.MessageType{raftpb.MsgProp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTransferLeader, raftpb.MsgTimeoutNow, raftpb.MsgReadIndex,
		raftpb.MsgReadIndexResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp}
	var all []*raftpb.Message
	term, index := uint64(1), uint64(0)
	for range count {
		m := &raftpb.Message{From: proto.Uint64(uint64(from)), To: proto.Uint64(uint64(to)), Commit: proto.Uint64(uint64(random.Intn(100)))}
		if random.Intn(2) == 0 {
			m.Type = others[random.Intn(len(others))].Enum()
			m.Term = proto.Uint64(uint64(random.Intn(5)))
			m.Context = make([]byte, random.Intn(20))
			random.Read(m.Context)
			if *m.Type == raftpb.MsgAppResp {
				m.Context = append(m.Context, 1) // what has one is not told together with another
			}
			if random.Intn(4) == 0 {
				m.Reject = proto.Bool(true)
				m.RejectHint = proto.Uint64(uint64(random.Intn(1000)))
			}
			if *m.Type == raftpb.MsgProp || *m.Type == raftpb.MsgReadIndex {
				m.Entries = []*raftpb.Entry{{Data: randomBytes(random)}}
			}
		} else {
			m.Type = raftpb.MsgApp.Enum()
			logTerm := term
			if random.Intn(20) == 0 {
				term++
			}
			if random.Intn(20) == 0 {
				index = uint64(random.Intn(100))
			}
			m.Term, m.LogTerm, m.Index = proto.Uint64(term), proto.Uint64(logTerm), proto.Uint64(index)
			for range random.Intn(6) {
				index++
				m.Entries = append(m.Entries, &raftpb.Entry{Type: raftpb.EntryType(random.Intn(3)).Enum(),
					Term: proto.Uint64(term), Index: proto.Uint64(index), Data: randomBytes(random)})
			}
		}
		all = append(all, m)
	}
	return all
}

func randomBytes(random *rand.Rand) []byte {
	size := random.Intn(300)
	switch n := random.Intn(200); {
	case n < 5:
		size = random.Intn(20_000)
	case n == 5:
		size = 1_500_000
	}
	b := make([]byte, size)
	random.Read(b)
	return b
}

// same compares in any order: streams and priorities may change it.
func same(what string, sent []*raftpb.Message, got [][]byte) error {
	var a, b []string
	for _, m := range sent {
		a = append(a, canonical(marshal(m)))
	}
	for _, m := range got {
		b = append(b, canonical(m))
	}
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		return fmt.Errorf("%s: %d sent, %d came, and they are not the same", what, len(a), len(b))
	}
	return nil
}

func streams(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	p.forget()
	posts := p.it.asked("/raft")
	random := rand.New(rand.NewSource(1))
	out := randomMessages(random, ours, its, 1500)
	in := randomMessages(random, its, ours, 1500)
	for i, m := range out {
		// An append that goes on from one that still waits would leave as one with it.
		if *m.Type == raftpb.MsgApp {
			if err := until("what was sent before an append", func() bool { return len(p.it.messages()) == i }); err != nil {
				return fmt.Errorf("%w: %d of %d", err, len(p.it.messages()), i)
			}
		}
		p.us.send(m)
	}
	for _, m := range in {
		p.it.tr.Send([]*raftpb.Message{m})
	}
	err = until("all messages", func() bool { return len(p.it.messages()) == len(out) && len(p.us.messages()) == len(in) })
	if err != nil {
		return fmt.Errorf("%w: %d of %d to etcd, %d of %d to us", err, len(p.it.messages()), len(out), len(p.us.messages()), len(in))
	}
	if n := p.it.asked("/raft") - posts; n > 0 {
		return fmt.Errorf("%d went by posts", n)
	}
	return errors.Join(same("to etcd", out, p.it.messages()), same("to us", in, p.us.messages()))
}

// Neither end knows the other as a peer but by what its requests say: no streams.
func posts(tool string) error {
	p, err := startEnds(tool, cluster)
	if err != nil {
		return err
	}
	defer p.stop()
	us, it := p.us, p.it
	it.tr.AddRemote(ours, []string{us.url()})
	random := rand.New(rand.NewSource(2))
	in := randomMessages(random, its, ours, 200)
	for i, m := range in {
		it.tr.Send([]*raftpb.Message{m})
		if err := until("a post", func() bool { return len(us.messages()) > i }); err != nil {
			return err
		}
	}
	if err := same("to us", in, us.messages()); err != nil {
		return err
	}
	out := randomMessages(random, ours, its, 200)
	for i, m := range out {
		us.send(m)
		if i%50 == 49 {
			if err := until("posts", func() bool { return len(it.messages()) > i }); err != nil {
				return err
			}
		}
	}
	if it.asked("/raft") != len(out) {
		return fmt.Errorf("%d posts of %d messages", it.asked("/raft"), len(out))
	}
	return same("to etcd", out, it.messages())
}

func fileBytes(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*31 + i/256)
	}
	return b
}

func snapshotMessage(from, to types.ID, index uint64) *raftpb.Message {
	return &raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: proto.Uint64(uint64(from)), To: proto.Uint64(uint64(to)),
		Term: proto.Uint64(3), Snapshot: &raftpb.Snapshot{Data: []byte(`{}`), Metadata: &raftpb.SnapshotMetadata{
			Index: proto.Uint64(index), Term: proto.Uint64(2), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2}, AutoLeave: proto.Bool(false)}}}}
}

func snapshotToUs(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	for i, size := range []int{0, 1, 100_000, 40 << 20} {
		p.forget()
		content := fileBytes(size)
		index := uint64(100 + i)
		m := snap.NewMessage(snapshotMessage(its, ours, index), io.NopCloser(bytes.NewReader(content)), int64(size))
		p.it.tr.SendSnapshot(m)
		if err := p.it.await("sent 1 finished"); err != nil {
			return err
		}
		crc := crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli))
		if err := p.us.await(fmt.Sprintf("file %d %d %08x", index, size, crc)); err != nil {
			return err
		}
		if err := until("the message", func() bool { return len(p.us.messages()) == 1 }); err != nil {
			return err
		}
		var got raftpb.Message
		if err := proto.Unmarshal(p.us.messages()[0], &got); err != nil || got.Snapshot.Metadata.GetIndex() != index {
			return fmt.Errorf("the message is %v, %v", &got, err)
		}
	}
	return nil
}

func snapshotToEtcd(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	for i, size := range []int{0, 1, 100_000, 40 << 20} {
		p.forget()
		index := uint64(100 + i)
		p.us.tell("snapshot %x %d", marshal(snapshotMessage(ours, its, index)), size)
		if err := p.us.await("sent 2 finished"); err != nil {
			return err
		}
		content, err := os.ReadFile(fileOf(p.it.dir, index))
		if err != nil {
			return err
		}
		if !bytes.Equal(content, fileBytes(size)) {
			return fmt.Errorf("the file of %d bytes has come with %d, or altered", size, len(content))
		}
		if len(p.it.messages()) != 1 {
			return fmt.Errorf("%d messages came", len(p.it.messages()))
		}
	}
	return nil
}

func tornSnapshot(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	p.forget()
	// Fewer bytes than were announced: etcd's sender breaks the request off.
	m := snap.NewMessage(snapshotMessage(its, ours, 7), io.NopCloser(bytes.NewReader(fileBytes(1000))), 2000)
	p.it.tr.SendSnapshot(m)
	if err := p.it.await("sent 1 failed"); err != nil {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	if len(p.us.messages()) > 0 {
		return errors.New("it was taken for whole")
	}
	if err := p.us.order("full on"); err != nil {
		return err
	}
	m = snap.NewMessage(snapshotMessage(its, ours, 8), io.NopCloser(bytes.NewReader(fileBytes(1000))), 1000)
	p.it.clear()
	p.it.tr.SendSnapshot(m)
	return p.it.await("sent 1 failed")
}

func anotherCluster(tool string) error {
	p, err := startEnds(tool, 0xc2)
	if err != nil {
		return err
	}
	defer p.stop()
	us, it := p.us, p.it
	return refusing(us, it)
}

func anotherVersion(tool string) error {
	for _, args := range [][]string{{"--server-version", "2.3.0"}, {"--min-cluster-version", "3.8.0", "--server-version", "3.8.0"}} {
		p, err := startEnds(tool, cluster, args...)
		if err != nil {
			return err
		}
		err = refusing(p.us, p.it)
		p.stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// refusing: neither takes anything from the other, each is told, and nobody dies of it.
func refusing(us *tool, it *member) error {
	us.tell("peer %s %s", its, it.url())
	it.tr.AddPeer(ours, []string{us.url()})
	us.send(heartbeat(ours, its))
	it.tr.Send([]*raftpb.Message{heartbeat(its, ours)})
	if err := us.await("unreachable 2"); err != nil {
		return err
	}
	if err := it.await("unreachable 1"); err != nil {
		return err
	}
	time.Sleep(500 * time.Millisecond)
	if len(us.messages())+len(it.messages()) > 0 || us.active.Load() > 0 || it.tr.ActivePeers() > 0 {
		return errors.New("something got through")
	}
	select {
	case err := <-it.errors:
		return fmt.Errorf("it would stop: %w", err)
	default:
	}
	if us.heard("removed 2") {
		return errors.New("we would stop")
	}
	return nil
}

func weWereRemoved(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	p.it.remove(ours)
	p.it.tr.RemovePeer(ours)
	return p.us.await("removed 2")
}

func itWasRemoved(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.us.order("removed %s", its); err != nil {
		return err
	}
	p.us.tell("unpeer %s", its)
	return p.it.awaitError(removedText)
}

// A message that is not for us, or of a member that was removed: etcd means to answer 403, at which the sender would
// stop for good, but its error is not of the kind that its transport looks for, and the answer is 500. That is as
// well: a new member at the address of an old one would stop all who have not heard of the change yet.
func notForIt(tool string) error {
	p, err := startEnds(tool, cluster)
	if err != nil {
		return err
	}
	defer p.stop()
	us, it := p.us, p.it
	it.remove(5)
	if err := us.order("removed 5"); err != nil {
		return err
	}
	for _, m := range []*raftpb.Message{heartbeat(7, 9), heartbeat(5, ours), heartbeat(5, its)} {
		var answers [2]string
		for i, url := range []string{us.url(), it.url()} {
			if answers[i], err = post(url, marshal(m)); err != nil {
				return err
			}
		}
		if answers[0] != answers[1] || !strings.HasPrefix(answers[1], "500") {
			return fmt.Errorf("%v: we answer %q, etcd %q", m, answers[0], answers[1])
		}
	}
	return nil
}

func post(url string, body []byte) (string, error) {
	request, err := http.NewRequest(http.MethodPost, url+"/raft", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	for name, value := range map[string]string{"X-Server-From": "7", "X-Server-Version": "3.7.1",
		"X-Min-Cluster-Version": "3.0.0", "X-Etcd-Cluster-ID": cluster.String()} {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s, then %v", response.StatusCode, text, err), nil
}

func ourRestart(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer func() { p.stop() }()
	p.us.kill()
	if err := until("the loss", func() bool {
		p.it.tr.Send([]*raftpb.Message{heartbeat(its, ours)})
		return p.it.tr.ActivePeers() == 0
	}); err != nil {
		return err
	}
	if p.us, err = startTool(tool, ours, p.us.address); err != nil {
		return err
	}
	p.us.tell("peer %s %s", its, p.it.url())
	return p.connected()
}

func itsRestart(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer func() { p.stop() }()
	p.it.stop()
	if err := p.us.await("active 0"); err != nil {
		return err
	}
	p.us.clear()
	if p.it, err = startMember(its, cluster, p.it.address); err != nil {
		return err
	}
	p.it.tr.AddPeer(ours, []string{p.us.url()})
	return p.connected()
}

// Longer than a silent connection lives: link heartbeats keep the streams, both ways.
func idle(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	p.forget()
	dialed := p.it.asked("/raft/stream/msgapp/1") + p.it.asked("/raft/stream/message/1")
	time.Sleep(12 * time.Second)
	if n := p.it.asked("/raft/stream/msgapp/1") + p.it.asked("/raft/stream/message/1"); n != dialed {
		return fmt.Errorf("streams were dialled again: %d", n-dialed)
	}
	if lines := p.us.all(); len(lines) > len(p.us.got()) || len(p.us.messages()) > 0 {
		return fmt.Errorf("we heard %q", lines)
	}
	resp, err := http.Get(p.us.url() + "/raft/probing")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if p.it.asked("/raft/probing") < 2 {
		return errors.New("we did not probe")
	}
	return p.connected()
}

func cutAndMended(tool string) error {
	p, err := startPair(tool)
	if err != nil {
		return err
	}
	defer p.stop()
	p.forget()
	p.it.tr.CutPeer(ours)
	p.us.send(heartbeat(ours, its))
	p.it.tr.Send([]*raftpb.Message{heartbeat(its, ours)})
	time.Sleep(300 * time.Millisecond)
	if len(p.us.messages())+len(p.it.messages()) > 0 {
		return errors.New("something got through")
	}
	p.it.tr.MendPeer(ours)
	return p.connected()
}
