package MemSess::Process;
# Processes that the tests start. Each leads a session of its own (httpd signals its
# whole process group), dies with the test (the kernel sees to it), and is stopped
# when the test ends, however it ends.
use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use IO::Socket::IP;
use POSIX ();
use Time::HiRes qw(sleep time);

our @EXPORT_OK = qw(wait_for free_port);

my $owner = $$;
my @started;
my $named = 0;

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);
$SIG{PIPE} = 'IGNORE';

END { stop_all() }

# A forked child must not stop what its parent started.
sub stop_all {
    return unless is_owner();
    local $?;
    $_->stop for reverse @started;
}

sub is_owner { $$ == $owner }

# All that this process has started.
sub started { return @started }

# True as soon as the condition is, false when the deadline passes.
sub wait_for {
    my ($seconds, $condition) = @_;
    my $deadline = time + $seconds;
    while (1) {
        my $rv = $condition->();
        return $rv if $rv;
        return if time > $deadline;
        sleep 0.02;
    }
}

# Below the range that the kernel takes for outgoing connections: a server that is
# restarted finds its port free.
sub free_port {
    my ($host) = @_;
    for (1 .. 200) {
        my $port = 10000 + int rand 20000;
        my $s = IO::Socket::IP->new(LocalHost => $host // '127.0.0.1', LocalPort => $port,
                                    Listen => 1, ReuseAddr => 1) or next;
        return $port;
    }
    die "no free port: $@";
}

# fields: command, log (the file that takes its output), stop_signal
sub launch {
    my ($self) = @_;
    my @command = ('setpriv', '--pdeathsig', $self->{stop_signal} // 'TERM', @{ $self->{command} });
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP PIPE);
        POSIX::setsid();
        open STDIN,  '<',  '/dev/null';
        open STDOUT, '>>', $self->{log} or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT;
        exec { $command[0] } @command or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    push @started, $self unless grep { $_ == $self } @started;
    return $self;
}

# Its output in the log.
sub output {
    my ($self) = @_;
    open my $in, '<', $self->{log} or return '';
    local $/;
    return scalar(<$in>) // '';
}

# A new one of the class, whose log has a name of its own.
sub named {
    my ($class, $name) = @_;
    mkdir 't/logs';
    return bless { log => sprintf('t/logs/%s-%d-%d.log', $name, $$, ++$named) }, $class;
}

# A server that this Perl file is when it is run, with a port to listen on and arguments.
# By its line "listening on PORT" it is told from another process at the same port.
sub launch_perl {
    my ($self, $file, @args) = @_;
    for (1 .. 5) {
        $self->{port}    = free_port();
        $self->{command} = [$^X, '-It/lib', $file, $self->{port}, @args];
        $self->launch;
        wait_for(60, sub { !$self->alive or $self->output =~ /^listening on $self->{port}$/m });
        return $self if $self->alive;
    }
    die "$file does not start, see $self->{log}\n";
}

sub say_listening {
    my ($port) = @_;
    local $| = 1;
    print "listening on $port\n";
}

sub listen_on {
    my ($port) = @_;
    my $listener = IO::Socket::INET->new(LocalHost => '127.0.0.1', LocalPort => $port,
                                         Listen => 64, ReuseAddr => 1) or die "port $port: $@";
    say_listening($port);
    return $listener;
}

# Answers each client in a process of its own.
sub answer_each {
    my ($port, $answer) = @_;
    my $listener = listen_on($port);
    $SIG{CHLD} = 'IGNORE';
    while (1) {
        my $client = $listener->accept or next;
        next if fork;
        $answer->($client);
        exit 0;
    }
}

sub pid  { $_[0]{pid} }
sub port { $_[0]{port} }

# Reaps; true while the process is there.
sub alive {
    my ($self) = @_;
    return 0 unless $self->{pid};
    return 1 if waitpid($self->{pid}, POSIX::WNOHANG()) == 0;
    undef $self->{pid};
    return 0;
}

sub signal {
    my ($self, $signal) = @_;
    return $self->alive && kill $signal, $self->{pid};
}

# Waits for the end; if it does not come, the whole session is killed.
sub stop {
    my ($self, $signal) = @_;
    my $pid = $self->{pid} or return 1;
    $self->signal('CONT');
    $self->signal($signal // $self->{stop_signal} // 'TERM');
    my $ended = wait_for(15, sub { !$self->alive });
    kill 'KILL', -$pid;
    return $ended || wait_for(5, sub { !$self->alive });
}

1;
