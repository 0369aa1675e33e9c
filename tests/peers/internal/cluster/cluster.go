// Package cluster runs the members of a cluster, etcd's and Keelson's alike, as child processes: started, killed,
// stopped in the middle of their work and woken again, each by its own process id. A member never outlives the test.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"keelson.dev/tests/peers/internal/server"
)

// Patience bounds every wait for a fact, in running time. It is no measure of speed: a machine may be busy.
const Patience = 90 * time.Second

// Member is one member, running or not. Its files stay from start to start.
type Member struct {
	Name, Bin    string
	Client, Peer string   // host:port it listens on and advertises
	Prefix       []string // of its command line: where else than here it runs
	Args         []string
	Conn         *grpc.ClientConn // to it; finds it again by itself after a restart
	Id           uint64           // known once it has been ready

	dir     string
	mu      sync.Mutex
	command *exec.Cmd
	exited  chan struct{}
	paused  bool
}

// New makes a member that is not started, on free ports of loopback, its files in a directory of its own below `under`.
func New(under, name, bin string, args ...string) (*Member, error) {
	m := &Member{Name: name, Bin: bin, Args: args}
	for _, address := range []*string{&m.Client, &m.Peer} {
		port, err := server.FreePort()
		if err != nil {
			return nil, err
		}
		*address = fmt.Sprintf("127.0.0.1:%d", port)
	}
	return m, m.Place(under)
}

// Place gives a member whose addresses are set its directory and its connection.
func (m *Member) Place(under string) (err error) {
	m.dir = filepath.Join(under, m.Name)
	if err = os.Mkdir(m.dir, 0o700); err != nil {
		return err
	}
	m.Conn, err = Dial(m.Client)
	return err
}

// Dial makes a connection that tries often to come back, so that a restart costs no waiting.
func Dial(address string) (*grpc.ClientConn, error) {
	const unlimited = 1<<31 - 1
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second,
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 100 * time.Millisecond}}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(unlimited), grpc.MaxCallSendMsgSize(unlimited)))
}

// InitialCluster is the value of the flag of that name.
func InitialCluster(members []*Member) string {
	var each []string
	for _, m := range members {
		each = append(each, m.Name+"=http://"+m.Peer)
	}
	return strings.Join(each, ",")
}

// Start returns as soon as the process runs.
func (m *Member) Start(initial []*Member, more ...string) error {
	line := append([]string(nil), m.Prefix...)
	line = append(line, m.Bin,
		"--name="+m.Name,
		"--data-dir="+filepath.Join(m.dir, "data"),
		"--listen-client-urls=http://"+m.Client,
		"--advertise-client-urls=http://"+m.Client,
		"--listen-peer-urls=http://"+m.Peer,
		"--initial-advertise-peer-urls=http://"+m.Peer,
		"--initial-cluster="+InitialCluster(initial),
		"--initial-cluster-token=peers")
	line = append(line, m.Args...)
	line = append(line, more...)
	log, err := os.OpenFile(m.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(line[0], line[1:]...)
	command.Stdout, command.Stderr = log, log
	if err := server.Spawn(command); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	exited := make(chan struct{})
	go func() {
		command.Wait()
		close(exited)
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.command, m.exited, m.paused = command, exited, false
	m.Conn.ResetConnectBackoff()
	return nil
}

// Running says whether there is a process, stopped by SIGSTOP or not.
func (m *Member) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.command == nil {
		return false
	}
	select {
	case <-m.exited:
		return false
	default:
		return true
	}
}

// Paused says whether it is between Pause and Resume.
func (m *Member) Paused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused
}

// Awake: runs and is not stopped.
func (m *Member) Awake() bool { return m.Running() && !m.Paused() }

func (m *Member) signal(s syscall.Signal, pauses bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.command == nil {
		return
	}
	select {
	case <-m.exited:
	default:
		m.command.Process.Signal(s)
		m.paused = pauses
	}
}

// Kill ends the process with SIGKILL and waits for that; also one that is paused.
func (m *Member) Kill() {
	m.signal(syscall.SIGKILL, false)
	m.mu.Lock()
	exited := m.exited
	m.mu.Unlock()
	if exited != nil {
		<-exited
	}
}

// Pause stops the process in the middle of whatever it does; Resume lets it go on.
func (m *Member) Pause()  { m.signal(syscall.SIGSTOP, true) }
func (m *Member) Resume() { m.signal(syscall.SIGCONT, false) }

// AwaitEnd waits for a process that ends by itself.
func (m *Member) AwaitEnd(ctx context.Context) error {
	m.mu.Lock()
	command, exited := m.command, m.exited
	m.mu.Unlock()
	patience, cancel := WithRunningTime(ctx, Patience)
	defer cancel()
	select {
	case <-exited:
		if code := command.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s ended with %d\n%s", m.Name, code, m.LogTail(15))
		}
		return nil
	case <-patience.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s does not end\n%s", m.Name, m.LogTail(15))
	}
}

func (m *Member) logPath() string { return filepath.Join(m.dir, "log") }

// Log is all the member has printed, over all its starts.
func (m *Member) Log() string {
	text, err := os.ReadFile(m.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogTail is the end of the log, for messages.
func (m *Member) LogTail(lines int) string {
	all := strings.Split(strings.TrimRight(m.Log(), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  " + m.Name + "| " + strings.Join(all, "\n  "+m.Name+"| ")
}

// LogTails is the end of all their logs.
func LogTails(members []*Member, lines int) string {
	var all []string
	for _, m := range members {
		all = append(all, m.LogTail(lines))
	}
	return strings.Join(all, "\n")
}

// Close ends the process and the connection.
func (m *Member) Close() {
	m.Kill()
	if m.Conn != nil {
		m.Conn.Close()
	}
}

// Status is what the member says of itself, without asking the others.
func (m *Member) Status(ctx context.Context) (*pb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pb.NewMaintenanceClient(m.Conn).Status(ctx, &pb.StatusRequest{})
}

// AwaitReady waits until the member has answered a linearizable read, so it has caught up with all that was
// acknowledged before this call.
func (m *Member) AwaitReady(ctx context.Context) error {
	return Until(ctx, m.Name+" answers linearizable reads", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		got, err := pb.NewKVClient(m.Conn).Range(ctx, &pb.RangeRequest{Key: []byte{0}, CountOnly: true})
		if err != nil {
			if !m.Running() {
				return Never{Err: fmt.Errorf("it has ended\n%s", m.LogTail(20))}
			}
			m.Conn.ResetConnectBackoff()
			return err
		}
		m.Id = got.Header.MemberId
		return nil
	})
}

// Describe says what each member says of itself, for messages.
func Describe(ctx context.Context, members []*Member) string {
	text := ""
	for _, m := range members {
		s, err := m.Status(ctx)
		switch {
		case !m.Running():
			text += fmt.Sprintf("; %s does not run", m.Name)
		case err != nil:
			text += fmt.Sprintf("; %s says nothing: %v", m.Name, err)
		default:
			text += fmt.Sprintf("; %s: id %x, leader %x, term %d, index %d, applied %d", m.Name, s.Header.MemberId, s.Leader,
				s.RaftTerm, s.RaftIndex, s.RaftAppliedIndex)
		}
	}
	return text
}

// AwaitAllReady is AwaitReady of each.
func AwaitAllReady(ctx context.Context, members []*Member) error {
	for _, m := range members {
		if err := m.AwaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Leader is who says that he leads, of those awake; who has been succeeded and has not heard of it yet is not meant.
// Nil if there is none now.
func Leader(ctx context.Context, members []*Member) (leader *Member) {
	term := uint64(0)
	for _, m := range members {
		if !m.Awake() {
			continue
		}
		s, err := m.Status(ctx)
		if err == nil && s.Leader != 0 && s.Leader == s.Header.MemberId && s.RaftTerm > term {
			leader, term = m, s.RaftTerm
		}
	}
	return leader
}

// AwaitLeader waits for one.
func AwaitLeader(ctx context.Context, members []*Member) (leader *Member, err error) {
	err = Until(ctx, "somebody leads", func(ctx context.Context) error {
		if leader = Leader(ctx, members); leader == nil {
			return errors.New("nobody does")
		}
		return nil
	})
	return leader, err
}

// Never is an error that waiting does not mend.
type Never struct{ Err error }

func (n Never) Error() string { return n.Err.Error() }

// WithRunningTime is a context that ends after so much time in which this program ran: while it is stopped, as a whole
// machine may be, its members are too, and nobody has waited for them.
func WithRunningTime(ctx context.Context, within time.Duration) (context.Context, context.CancelFunc) {
	const step = 100 * time.Millisecond
	ticker := time.NewTicker(step) // which drops the ticks that nobody took
	ctx, cancel := afterTicks(ctx, int(within/step), ticker.C)
	context.AfterFunc(ctx, ticker.Stop)
	return ctx, cancel
}

func afterTicks(ctx context.Context, count int, ticks <-chan time.Time) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for range count {
			select {
			case <-ctx.Done():
				return
			case <-ticks:
			}
		}
		cancel(context.DeadlineExceeded)
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// Until tries until there is no error, for as long as Patience.
func Until(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := WithRunningTime(ctx, Patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		var never Never
		if errors.As(err, &never) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not in time: %w", what, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
