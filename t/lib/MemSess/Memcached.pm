package MemSess::Memcached;
# A real memcached, and what a test asks it or does to it.
use strict;
use warnings;
use parent 'MemSess::Process';

use IO::Socket::IP;
use IO::Socket::UNIX;
use MemSess::Preload;
use MemSess::Process qw(wait_for free_port);

my $count = 0;

# host: 127.0.0.1 (default), ::1 or the path of a unix socket; args: further arguments.
# restart() brings it back empty at the same address.
sub start {
    my ($class, %args) = @_;
    my $self = bless {
        host => $args{host} // '127.0.0.1',
        args => $args{args} // [],
        auth => $args{auth},
        log  => sprintf('t/logs/memcached-%d-%d.log', $$, ++$count),
        stop_signal => 'KILL',
    }, $class;
    mkdir 't/logs';
    for (1 .. 5) {
        $self->{port} = free_port($self->{host}) unless $self->is_unix;
        return $self if eval { $self->restart };
    }
    die "memcached does not start: $@";
}

sub is_unix { $_[0]{host} =~ m{^/} }

sub restart {
    my ($self) = @_;
    $self->stop;
    unlink $self->{host} if $self->is_unix;
    my @clock = $INC{'MemSess/Clock.pm'}
        ? ('env', MemSess::Preload::environment('clock'), MemSess::Clock::environment()) : ();
    $self->{command} = [@clock, 'memcached', '-U', '0', '-t', '2', $self->listening,
                        @{ $self->{args} }];
    $self->launch;
    wait_for(60, sub { !$self->alive or $self->answers }) && $self->alive
        or die "memcached does not answer, see $self->{log}\n";
    return $self;
}

sub listening {
    my ($self) = @_;
    return ('-s', $self->{host}) if $self->is_unix;
    return ('-l', $self->{host} =~ /:/ ? "[$self->{host}]" : $self->{host}, '-p', $self->{port});
}

# The address as MemSessServers spells it.
sub address {
    my ($self) = @_;
    return "unix:$self->{host}" if $self->is_unix;
    return ($self->{host} =~ /:/ ? "[$self->{host}]" : $self->{host}) . ":$self->{port}";
}

# Whether ours answers, and not another process at the same port.
sub answers {
    my ($self) = @_;
    my $stats = eval { $self->stats };
    return $stats && $stats->{pid} == $self->pid;
}

sub kill9  { $_[0]->stop('KILL') }
sub pause  { my ($self) = @_; $self->signal('STOP'); $self->wait_state('T') }
sub resume { my ($self) = @_; $self->signal('CONT'); $self->wait_state('[^T]') }

sub wait_state {
    my ($self, $state) = @_;
    wait_for(10, sub { $self->in_state($state) }) or die "memcached does not stop or go on\n";
}

sub in_state {
    my ($self, $state) = @_;
    open my $in, '<', '/proc/' . $self->pid . '/stat' or return;
    return <$in> =~ /\) $state /;
}

# Neither gone nor stopped.
sub is_running { my ($self) = @_; return $self->alive && $self->in_state('[^T]') }

sub connection {
    my ($self) = @_;
    my $s = $self->is_unix
        ? IO::Socket::UNIX->new(Peer => $self->{host})
        : IO::Socket::IP->new(PeerHost => $self->{host}, PeerPort => $self->{port}, Timeout => 5);
    $s or die "cannot connect to memcached $self->{host}: $@\n";
    $s->print("set auth 0 0 " . length($self->{auth}) . "\r\n$self->{auth}\r\n"), scalar <$s>
        if $self->{auth};
    return $s;
}

# One command; the lines of the answer up to the one that ends it.
sub command {
    my ($self, $command, $last) = @_;
    my $s = $self->connection;
    $s->print("$command\r\n");
    my @lines;
    while (defined(my $line = <$s>)) {
        $line =~ s/\r?\n\z//;
        return @lines if $line =~ /^(?:END|RESET)$/;
        # A list of keys begins with OK since memcached 1.6.45.
        next if $line eq 'OK' && $command =~ /^lru_crawler metadump/;
        push @lines, $line;
        return @lines if $line =~ /^(?:HD|EN|STORED|NOT_STORED|DELETED|NOT_FOUND|OK|BUSY|.*ERROR)/;
    }
    die "memcached closed the connection\n";
}

sub stats {
    my ($self) = @_;
    return { map { /^STAT (\S+) (.*)/ } $self->command('stats') };
}

# By how much these figures grew while the code ran.
sub during {
    my ($self, $code, @names) = @_;
    my $before = $self->stats;
    $code->();
    my $after = $self->stats;
    my @grown = map { $after->{$_} - $before->{$_} } @names;
    return wantarray ? @grown : $grown[0];
}

# By how much these figures of the servers grew in all. Each member reads and writes an item of its own
# once a minute: if the sum is not the expected one, the code is run again, and the growth counts as the
# code's if it is there each time.
sub growth {
    my ($expected, $code, $names, @servers) = @_;
    my $sum;
    for (1 .. 3) {
        my @before = map { $_->stats } @servers;
        $code->();
        my @after = map { $_->stats } @servers;
        $sum = 0;
        for my $i (0 .. $#servers) {
            $sum += $after[$i]{$_} - $before[$i]{$_} for @$names;
        }
        last if $sum == $expected;
    }
    return $sum;
}

sub caused { my ($self, $code, @names) = @_; return growth(0, $code, \@names, $self) }

# The number of commands about items, whatever their answers were.
sub traffic {
    my ($self, $code) = @_;
    return $self->caused($code, qw(cmd_get cmd_set cmd_touch delete_hits delete_misses incr_hits
                                   incr_misses decr_hits decr_misses));
}

sub writes { my ($self, $code) = @_; return $self->caused($code, 'cmd_set') }

sub keys {
    my ($self) = @_;
    my @lines;
    wait_for(10, sub {
        @lines = $self->command('lru_crawler metadump all');
        return !grep { /^BUSY|ERROR/ } @lines;
    }) or die "memcached lists no keys: @lines\n";
    my @keys = map { /^key=(\S+)/ } @lines;
    s/%([0-9a-fA-F]{2})/chr hex $1/ge for @keys;
    return sort @keys;
}

sub get { (shift->item(@_))[0] }

# value, flags
sub item {
    my ($self, $key) = @_;
    my $s = $self->connection;
    $s->print("get $key\r\n");
    my ($flags, $length) = (scalar <$s> // '') =~ /^VALUE \S+ (\d+) (\d+)/ or return;
    read($s, my $value, $length) == $length or die "memcached cut a value short\n";
    return ($value, $flags);
}

sub set {
    my ($self, $key, $value, $flags) = @_;
    my ($answer) = $self->command(
        sprintf("set %s %d 0 %d\r\n%s", $key, $flags // 0, length $value, $value));
    $answer eq 'STORED' or die "memcached stores nothing: $answer\n";
}

sub delete { my ($self, $key) = @_; $self->command("delete $key") }

1;
