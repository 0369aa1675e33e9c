// Package server runs one member, etcd or Keelson alike (both take etcd's flags), as a child process on
// loopback: random free ports, a data directory of its own, its log in a file. A server never outlives
// the test: it is killed by its own process id on Stop, and by the kernel if the test itself dies.
package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Config says which program runs and where. Only Bin is needed.
type Config struct {
	Bin  string
	Name string // for messages: "oracle", "subject"
	Dir  string // holds data/ and log; empty: a temporary directory, removed by Stop
	// Advertised URLs decide the member and cluster ids; two servers given the same ones agree in both.
	// Empty: the URLs it listens on.
	AdvertisePeer, AdvertiseClient string
	ClientPort                     int // 0: any free one
	Args                           []string
	Env                            []string
	ReadyWithin                    time.Duration // 0: 60 s
	NoWait                         bool          // return as soon as the process runs
}

// Server is a running member.
type Server struct {
	config   Config
	Endpoint string // host:port of the client listener
	dir      string
	ownsDir  bool
	command  *exec.Cmd
	exited   chan struct{}
	exitErr  error
}

// Children are started by one thread that never ends: the kernel's parent-death signal is bound to it.
var spawner = sync.OnceValue(func() chan func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// Spawn starts a process that the kernel kills when this one ends, however it ends.
func Spawn(command *exec.Cmd) error {
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawner() <- func() { started <- command.Start() }
	return <-started
}

// FreePort names a loopback port that was free a moment ago. Not of those that the kernel gives to connections, which
// begin at 32768: between the choice and the server's bind one of another test could have it.
func FreePort() (int, error) {
	var err error
	for range 1000 {
		port := 10000 + rand.IntN(22000)
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, listener.Close()
		}
	}
	return 0, err
}

// Start returns a member that answers linearizable reads. Another process may take a port between its
// choice and its use, so a start that fails to listen is tried again on other ports.
func Start(ctx context.Context, config Config) (*Server, error) {
	if config.ReadyWithin == 0 {
		config.ReadyWithin = 60 * time.Second
	}
	var err error
	for range 5 {
		var s *Server
		if s, err = startOnce(ctx, config); err == nil {
			return s, nil
		}
		if !strings.Contains(err.Error(), "address already in use") || config.ClientPort != 0 {
			break
		}
	}
	return nil, err
}

func startOnce(ctx context.Context, config Config) (_ *Server, err error) {
	s := &Server{config: config, dir: config.Dir, exited: make(chan struct{})}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "keelson-peer-"); err != nil {
			return nil, err
		}
		s.ownsDir = true
	}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()

	clientPort := config.ClientPort
	if clientPort == 0 {
		if clientPort, err = FreePort(); err != nil {
			return nil, err
		}
	}
	peerPort, err := FreePort()
	if err != nil {
		return nil, err
	}
	s.Endpoint = fmt.Sprintf("127.0.0.1:%d", clientPort)
	listenClient := "http://" + s.Endpoint
	listenPeer := fmt.Sprintf("http://127.0.0.1:%d", peerPort)
	advertisePeer, advertiseClient := config.AdvertisePeer, config.AdvertiseClient
	if advertisePeer == "" {
		advertisePeer = listenPeer
	}
	if advertiseClient == "" {
		advertiseClient = listenClient
	}
	args := append([]string{
		"--name=m0",
		"--data-dir=" + filepath.Join(s.dir, "data"),
		"--listen-client-urls=" + listenClient,
		"--advertise-client-urls=" + advertiseClient,
		"--listen-peer-urls=" + listenPeer,
		"--initial-advertise-peer-urls=" + advertisePeer,
		"--initial-cluster=m0=" + advertisePeer,
		"--initial-cluster-token=peers",
		"--initial-cluster-state=new",
		"--log-level=warn",
	}, config.Args...)

	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.command = exec.Command(config.Bin, args...)
	s.command.Env = append(os.Environ(), config.Env...)
	s.command.Stdout, s.command.Stderr = log, log
	if err = Spawn(s.command); err != nil {
		s.command = nil
		return nil, fmt.Errorf("%s: %w", config.Name, err)
	}
	go func() {
		s.exitErr = s.command.Wait()
		close(s.exited)
	}()
	if config.NoWait {
		return s, nil
	}
	if err = s.awaitReady(ctx); err != nil {
		return nil, fmt.Errorf("%s (%s): %w\n%s", config.Name, config.Bin, err, s.LogTail(15))
	}
	return s, nil
}

func (s *Server) awaitReady(ctx context.Context) error {
	conn, err := Dial(s.Endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, s.config.ReadyWithin)
	defer cancel()
	kv := pb.NewKVClient(conn)
	for {
		callCtx, done := context.WithTimeout(ctx, 2*time.Second)
		_, err := kv.Range(callCtx, &pb.RangeRequest{Key: []byte("ready")})
		done()
		if err == nil {
			return nil
		}
		conn.ResetConnectBackoff()
		select {
		case <-s.exited:
			return fmt.Errorf("ended before it was ready: %v", s.exitErr)
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not ready in time, last answer: %w", err), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Dial makes a plain connection that neither retries nor limits the size of messages.
func Dial(endpoint string) (*grpc.ClientConn, error) {
	const unlimited = 1<<31 - 1
	return grpc.NewClient("passthrough:///"+endpoint,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(unlimited), grpc.MaxCallSendMsgSize(unlimited)))
}

// AwaitVersion waits until the member has proposed the version of its cluster, which it does by itself soon after
// it is ready, and the storage has followed.
func AwaitVersion(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		status, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
		if err != nil {
			return err
		}
		if status.StorageVersion == "3.7.0" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the storage version was never set")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Pid is that of the running process.
func (s *Server) Pid() int { return s.command.Process.Pid }

// Dir holds the data directory and the log.
func (s *Server) Dir() string { return s.dir }

// Exited is closed when the process has ended, whoever ended it.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// LogPath is the file that takes the output of every start in this directory.
func (s *Server) LogPath() string { return filepath.Join(s.dir, "log") }

// LogTail is the end of the log, for messages.
func (s *Server) LogTail(lines int) string {
	text, err := os.ReadFile(s.LogPath())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  log| " + strings.Join(all, "\n  log| ")
}

// Kill ends the process as a power cut would, as far as the process can tell. Files stay.
func (s *Server) Kill() {
	if s.command != nil {
		s.command.Process.Kill()
		<-s.exited
	}
}

// Stop ends the process and removes the directory if it was a temporary one.
func (s *Server) Stop() {
	s.Kill()
	if s.ownsDir {
		os.RemoveAll(s.dir)
	}
}

// Terminate asks for an orderly end and waits for it.
func (s *Server) Terminate(within time.Duration) error {
	s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
		return nil
	case <-time.After(within):
		s.Kill()
		return fmt.Errorf("%s did not end %v after SIGTERM", s.config.Name, within)
	}
}
