package MemSess::BlackHole;
# A memcached that can vanish from the network: it then answers nothing, not even a refusal, and still
# has its memory when it comes back. There are two kinds:
#
# 'namespace': it runs in a network namespace of its own, behind a pair of virtual interfaces, and
# vanishes when it has no route back. For that the whole test runs in a namespace, where an ordinary
# user may do this; the namespace ends with its last process.
# 'silent': a process between the test and memcached keeps silent. Where the kernel allows no
# namespaces, this is the only kind.
use strict;
use warnings;
use parent 'MemSess::Memcached';

use MemSess::Faulty;
use MemSess::Process qw(wait_for);

my ($us, $it) = qw(192.0.2.1 192.0.2.2);    # of TEST-NET-1: of nobody else's network

# To be called before anything is started: the test starts again, as the same user, in a namespace.
# NAMESPACES=no does without.
sub enter {
    return if $ENV{NAMESPACES};
    my @inside = qw(unshare --user --map-current-user --keep-caps --net);
    my $try = 'ip link set lo up && unshare --net true && '
        . 'ip link add name m0 type veth peer name m1';
    $ENV{NAMESPACES} = system("@inside sh -c '$try' >/dev/null 2>&1") ? 'no' : 'inside';
    return if $ENV{NAMESPACES} eq 'no';
    exec @inside, 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', $^X, $0
        or die "unshare: $!\n";
}

sub kinds { return $ENV{NAMESPACES} eq 'inside' ? qw(namespace silent) : 'silent' }

# One of each kind in a test.
sub start {
    my ($class, $kind) = @_;
    return bless({}, $class)->$kind;
}

sub silent {
    my ($self) = @_;
    my $behind = MemSess::Memcached->start;
    my $faulty = MemSess::Faulty->start($behind);
    %$self = (host => $behind->{host}, port => $faulty->{port}, behind => $behind,
        vanish => sub { $faulty->mode('silent') }, appear => sub { $faulty->mode('pass') });
    return $self;
}

sub namespace {
    my ($self) = @_;
    my $keeper = bless { log => "t/logs/black-hole-$$.log", stop_signal => 'KILL',
        command => [qw(unshare --net sleep infinity)] }, 'MemSess::Process';
    mkdir 't/logs';
    $keeper->launch;
    my $its = '/proc/' . $keeper->pid . '/ns/net';
    my $ours = readlink '/proc/self/ns/net';
    wait_for(15, sub { $keeper->alive && (readlink $its // $ours) ne $ours })
        or die "no namespace, see $keeper->{log}\n";
    my @there = ('nsenter', "--net=$its");
    run(qw(ip link add name m0 type veth peer name m1 netns), $keeper->pid);
    run(qw(ip address add), "$us/24", qw(dev m0));
    run(qw(ip link set m0 up));
    run(@there, qw(ip address add), "$it/24", qw(dev m1));
    run(@there, qw(ip link set m1 up));
    %$self = (host => $it, port => 11211, args => [], there => \@there, stop_signal => 'KILL',
        log => "t/logs/memcached-black-hole-$$.log",
        vanish => sub { run(@there, qw(ip route add blackhole), $us) },
        appear => sub { run(@there, qw(ip route delete blackhole), $us) });
    return $self->restart;
}

sub run { system(@_) == 0 or die "@_: failed\n" }

sub launch {
    my ($self) = @_;
    unshift @{ $self->{command} }, @{ $self->{there} };
    return $self->SUPER::launch;
}

sub vanish { $_[0]{vanish}->() }
sub appear { $_[0]{appear}->() }

1;
