package Scale;

# How things grow: connections to memcached, idle clients, placement, and the
# memory of a session.

use strict;
use warnings;

use Report;
use Rig;
use Sites;

use IO::Socket::INET;
use List::Util qw(sum);

my $KEYS = $ENV{BENCH_KEYS} || 10_000_000;
my $CLIENTS = 10_000;

# Connections to a memcached, without the one that asks.
sub connections {
    my ($memcached) = @_;
    return Rig::memcached_stats($memcached)->{curr_connections} - Rig::memcached_idle($memcached);
}

sub descriptors {
    my ($pid) = @_;
    my @open = glob "/proc/$pid/fd/*";
    return scalar @open;
}

# --- connections -------------------------------------------------------------

my @SHAPES = (
    # members, children, threads, MemSessConnections
    [1, 1, 8], [1, 1, 32], [1, 4, 8], [1, 4, 32], [2, 4, 32], [2, 4, 32, 4],
);

sub connections_of {
    my ($members, $children, $threads, $limit) = @_;
    my @memcached = map { Rig::memcached("memcached-$_") } 1, 2;
    my @sites = map { Sites::memsess_site("member$_", copies => 2, memcached => \@memcached,
        children => $children, threads => $threads,
        conf => $limit ? "MemSessConnections $limit\n" : '') } 1 .. $members;
    my @cookies = map { Sites::make_session($sites[0], '/write',
        Sites::session_form($_)) } 0 .. 255;
    my @wrk = map { Rig::wrk_start(url => "$sites[$_]{url}/read", seconds => 3,
        cookies => \@cookies, connections => 2 * $children * $threads, closed => 1,
        output => Rig::directory() . "/wrk-$_") } 0 .. $#sites;
    my $most = 0;
    while (!Rig::ended($wrk[0]{pid})) {
        my $now = connections($memcached[0]);
        $most = $now if $now > $most;
        select undef, undef, undef, 0.1;
    }
    my @seen = map { Rig::wrk_look($_) } @wrk;
    my $bound = $members * $children * ($limit || $threads);
    say_on("%7d %8d %7d %11s %9d %9d %8d\n", $members, $children, $threads, $limit || '-', $bound,
        $most, sum map { $_->{bad} } @seen);
    $_->close_site for @sites;
    Rig::stop($_->{pid}) for @memcached;
    return;
}

sub all_connections {
    say_on("connections to one memcached, at most; under load from twice as many clients as there "
        . "are threads\n\n%7s %8s %7s %11s %9s %9s %8s\n", 'members', 'children', 'threads',
        'MemSessConn', 'bound', 'measured', 'errors');
    connections_of(@$_) for @SHAPES;
    say_on("\n");
    return;
}

# --- turns -------------------------------------------------------------------

my @LIMITS = (1, 2, 4, undef);
my $ROUNDS = 5;

# There is one child of 32 threads for each number of connections, over the same memcacheds. Each round
# runs all of them, beginning with another one each time.
sub turns_of {
    my ($copies, $path) = @_;
    my @memcached = map { Rig::memcached("memcached-$_") } 1 .. $copies;
    my %site = map { ($_ // '') => Sites::memsess_site('turns' . ($_ // ''), copies => $copies,
        memcached => \@memcached, conf => $_ ? "MemSessConnections $_\n" : '') } @LIMITS;
    my @order = map { $_ // '' } @LIMITS;
    my @cookies = map { Sites::make_session($site{''}, '/write', Sites::session_form($_)) }
        0 .. 255;
    my %seen;
    for my $round (0 .. $ROUNDS) {
        for my $limit (@order) {
            my $seen = Rig::wrk_look(Rig::wrk_start(url => $site{$limit}{url} . $path,
                seconds => 1, cookies => \@cookies, connections => 16));
            push @{ $seen{$limit} }, $seen if $round; # before that, connections are made
        }
        push @order, shift @order;
    }
    for my $limit (map { $_ // '' } @LIMITS) {
        my @all = @{ $seen{$limit} };
        my %of = map { my $figure = $_; $figure => median(map { $_->{$figure} } @all) }
            qw(rate p50 p99);
        my ($rate, $p99) = map { my $figure = $_; median(map {
            $all[$_]{$figure} / $seen{''}[$_]{$figure} } 0 .. $#all) } qw(rate p99);
        say_on("%6d  %-7s %11s %9.0f %8.2f %8.2f %9.2f %9.2f %8d\n", $copies, $path, $limit || '-',
            @of{qw(rate p50 p99)}, $rate, $p99, sum map { $_->{bad} + $_->{stalled} } @all);
    }
    $_->close_site for values %site;
    Rig::stop($_->{pid}) for @memcached;
    return;
}

sub turns {
    say_on("fewer connections than requests: 16 clients of one child with 32 threads; medians of "
        . "$ROUNDS interleaved rounds of 1 s, and of ratios within them to MemSessConnections that "
        . "is not set\n\n%6s  %-7s %11s %9s %8s %8s %9s %9s %8s\n", 'copies', '', 'MemSessConn',
        'a second', 'p50 ms', 'p99 ms', 'of rate', 'of p99', 'errors');
    turns_of(@$_) for map { my $copies = $_; map { [$copies, $_] } qw(/read /write) } 2, 3;
    say_on("\n");
    return;
}

# --- idle clients ------------------------------------------------------------

# Each asks once and then keeps its connection.
sub idle_clients {
    my ($limit) = Rig::output_of('sh', '-c', 'ulimit -n') =~ /(\d+)/;
    my $clients = $limit - 500 < $CLIENTS ? $limit - 500 : $CLIENTS;
    my $site = Sites::memsess_site('idle', copies => 1, conf => "MemSessConnections 32 idle=1s\n");
    my $cookie = Sites::make_session($site, '/write', Sites::session_form(0));
    my ($address) = $site->{url} =~ m{//(.*)};
    my $child = $site->child;
    my $alone = descriptors($child) - 2 * connections($site->{memcached}[0]);
    my @sockets;
    for (1 .. $clients) {
        my $socket = IO::Socket::INET->new(PeerAddr => $address) or die "client $_: $!\n";
        syswrite $socket, "GET /read HTTP/1.1\r\nHost: localhost\r\nCookie: $cookie\r\n\r\n";
        sysread $socket, my ($answer), 65536 or die "client $_ got no answer\n";
        die "client $_: $answer\n" if $answer !~ m{^HTTP/1\.1 200 };
        push @sockets, $socket;
    }
    my $held = sub { connections($site->{memcached}[0]) };
    my $then = $held->();
    Rig::await(30, sub { !$held->() });
    say_on("%d idle keep-alive clients of one child with 32 threads: they held %d connections to "
        . "memcached at the end of their requests, %d after idle=1s; descriptors of the child: %d "
        . "before them, %d with them; its memory: %d MB\n\n", $clients, $then, $held->(), $alone,
        descriptors($child), Rig::memory($child, 'VmRSS') / 1024);
    die "idle clients hold connections\n" if $held->();
    close $_ for @sockets;
    $site->close_site;
    return;
}

# --- placement ---------------------------------------------------------------

# A program of our own, over the module's two lowest rooms and more of its sources.
sub build {
    my ($name, @more) = @_;
    my @flags = map { split ' ' } Rig::output_of('sh', '-c', 'apr-1-config --includes --cppflags');
    Rig::output_of('cc', '-std=gnu99', '-O2', '-Wall', '-Wextra', '-D_GNU_SOURCE', @flags,
        '-I' . Rig::apxs('APR_INCLUDEDIR'), '-I.', '-o', $name, "$name.c",
        glob('base/*.c session/*.c'), @more, qw(-lapr-1 -laprutil-1 -lcrypto -lz -lm));
    return Rig::directory() . "/$name";
}

sub ring {
    my $program = build('ring', 'store/ring.c');
    say_on("placement: shares and moved keys as multiples of the mean and of the least possible"
        . "\n\n");
    say_on("%s\n", Rig::output_of($program, $KEYS, 2, 4, 10, 32, 100, 316, 1000));
    return;
}

# --- records -----------------------------------------------------------------

my @SIZES = (100, 300, 1000, 3000, 10_000, 30_000, 100_000);

# Attributes that do not compress, as tokens do not; a tenth of the size in each.
sub random_form {
    my ($bytes) = @_;
    my @letters = ('a' .. 'z', 'A' .. 'Z', 0 .. 9, '-', '_');
    my $each = int($bytes / 10) - 2;
    return join '&', map { "a$_=" . join '', map { $letters[rand @letters] } 1 .. $each } 0 .. 9;
}

# Bytes of memcached's memory that a session takes, as its slabs are cut. Each is
# written by one request, so that no claims are counted.
sub bytes_of_record {
    my ($size, $compress) = @_;
    my $site = Sites::memsess_site('records', copies => 1, conf => "LimitRequestLine 120000\n"
        . "MemSessCompress $compress\n");
    my $memcached = $site->{memcached}[0];
    my $count = 20;
    Sites::make_session($site, '/write', random_form($size)) for 1 .. $count;
    my $stat = Rig::memcached_stats($memcached);
    my $slabs = Rig::memcached_stats($memcached, 'slabs');
    my $chunks = sum map { $slabs->{"$_:used_chunks"} * $slabs->{"$_:chunk_size"} }
        map { /^(\d+):used_chunks/ ? $1 : () } keys %$slabs;
    $site->close_site;
    return ($stat->{bytes} / $count, $chunks / $count);
}

sub records {
    say_on("memory of one copy of a session in memcached, in bytes: of the item, and of the piece "
        . "of memory it is put in; values do not compress well\n\n%9s %15s %15s\n", 'session',
        'item, piece', 'with compression');
    for my $size (@SIZES) {
        say_on("%9d %7.0f %7.0f %7.0f %7.0f\n", $size, bytes_of_record($size, 'Off'),
            bytes_of_record($size, 2048));
    }
    say_on("\n");
    return;
}

sub entries {
    my $program = build('entries');
    say_on("a local cache of 64 MB that is full: bytes of a session's record, how many sessions "
        . "are found, and the memory for each of these\n\n");
    say_on("%s\n", Rig::output_of($program, 64, @SIZES));
    return;
}

# -----------------------------------------------------------------------------

my @PARTS = ([connections => \&all_connections], [turns => \&turns], [idle => \&idle_clients], [records => \&records],
    [entries => \&entries], [ring => \&ring]);

sub run {
    my %wanted = map { $_ => 1 } @_ ? @_ : map { $_->[0] } @PARTS;
    machine();
    $_->[1]->() for grep { delete $wanted{ $_->[0] } } @PARTS;
    die "no such part: @{[sort keys %wanted]}\n" if %wanted;
    Report::leave('scale');
    return;
}

1;
