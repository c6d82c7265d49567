package Many;

# Many clients of two child processes with 64 threads each: how long they wait,
# whether threads wait for each other, the connections to memcached, and memory.

use strict;
use warnings;

use Futex;
use Report;
use Rig;
use Scale;
use Sites;

use List::Util qw(max sum);
use Time::HiRes qw(sleep);

my $CLIENTS  = $ENV{BENCH_CLIENTS}  || 10_000;
my $RATE     = $ENV{BENCH_RATE}     || 1000;    # of all of them together
my $SECONDS  = $ENV{BENCH_SECONDS}  || 5;
my $ROUNDS   = $ENV{BENCH_ROUNDS}   || 3;
my $REQUESTS = $ENV{BENCH_REQUESTS} || 1_000_000;

my ($CHILDREN, $THREADS) = (2, 64);
my $BUSY = 120;        # clients that keep nearly all threads busy
my $SESSIONS = 2500;
my $LARGE = 100_000;   # bytes of a large session

# A member opens one connection more for a moment when it asks for a server's figures.
my $BOUND = $CHILDREN * $THREADS + 1;

my @SHAPE = (children => $CHILDREN, threads => $THREADS);

# New sessions take the memory of a hundred thousand.
sub memcacheds {
    my ($name) = @_;
    return memcached => [map { Rig::memcached("memcached-$name-$_", megabytes => 512) } 1, 2];
}

# Sites by name, each with the cookies of its sessions.
my %MAKE = (
    bare => sub { Sites::bare_site(@SHAPE) },
    two  => sub { Sites::memsess_site('two', @SHAPE, copies => 2, memcacheds('two')) },
    cached => sub { Sites::memsess_site('cached', @SHAPE, copies => 2, memcacheds('cached'),
        conf => Sites::secret_conf() . "MemSessLocalCache 16M max-age=60s\n") },
    large => sub { Sites::memsess_site('large', @SHAPE, copies => 2, memcacheds('large'),
        conf => "LimitRequestLine 120000\n") },
);

sub site {
    my ($name, $sessions, $bytes) = @_;
    my $site = $MAKE{$name}->();
    $site->{cookies} = [map { Sites::make_session($site, '/write',
        Sites::session_form($_, $bytes)) } 0 .. $sessions - 1] if $name ne 'bare';
    return $site;
}

# As many clients as each process may have descriptors, besides those of its own.
sub clients {
    my ($limit) = Rig::output_of('sh', '-c', 'ulimit -n') =~ /(\d+)/;
    my $clients = $limit - 1000 < $CLIENTS ? $limit - 1000 : $CLIENTS;
    say_on("%d clients at most: a process may have %d descriptors\n", $clients, $limit)
        if $clients < $CLIENTS;
    return $clients;
}

# --- load --------------------------------------------------------------------

# Name, site, path, what it is; new: without a cookie, each request begins a session.
my @CASES = (
    ['none',        bare   => '/none',  'no session, the module not loaded'],
    ['bare-get-2',  bare   => '/get-2', 'a bare handler, one multgetp of two servers'],
    ['read',        two    => '/read',  'read, two copies'],
    ['write',       two    => '/write', 'written exactly, two copies'],
    ['new',         two    => '/write', 'each a new session, two copies', 'new'],
    ['read-cached', cached => '/read',  'read, local cache'],
);

# Runs one case; what the clients saw, with futex (system calls of a request) and
# connections (to a memcached, at most).
sub measure {
    my ($site, $case, %load) = @_;
    my ($name, undef, $path, undef, $new) = @$case;
    my $clients = Rig::clients_start(%load, seconds => $SECONDS,
        url => $site->{url} . $path . ($new ? '?' . Sites::session_form(0) : ''),
        cookies => $new ? undef : $site->{cookies});
    sleep 1;    # connections are made
    my $counted = $SECONDS - 2;
    my $futexes = Futex::count($counted, $site->children);
    my $most = 0;
    while (!Rig::ended($clients->{pid})) {
        $most = max($most, map { Scale::connections($_) } @{ $site->{memcached} });
        sleep 0.05;
    }
    my $seen = Rig::clients_look($clients);
    my $count = $futexes->();
    return { %$seen, connections => $most, ratio => $seen->{p99} / $seen->{p50},
        futex => defined $count ? $count / ($seen->{rate} * $counted) : undef };
}

sub table {
    my ($title, @rounds) = @_;
    say_on("%s\n%-12s %8s %8s %8s %8s %8s %8s %8s %7s %7s %7s\n", $title, '', 'requests', 'p50',
        'p99', 'p99.9', 'p99 of', 'of', 'futex a', 'conns', 'closed', 'errors');
    say_on("%-12s %8s %8s %8s %8s %8s %8s %8s\n", '', 'a second', 'ms', 'ms', 'ms', 'p50', 'none',
        'request');
    for my $case (@CASES) {
        my ($name, undef, undef, $says) = @$case;
        my @seen = map { $_->{$name} } @rounds;
        my %of = map { my $figure = $_; $figure => median(map { $_->{$figure} } @seen) }
            qw(rate p50 p99 p999 ratio futex);
        my $of_none = median(map { $_->{$name}{ratio} / $_->{none}{ratio} } @rounds);
        say_on("%-12s %8.0f %8.2f %8.2f %8.2f %8.1f %8.2f %8s %7d %7d %7d  %s\n", $name,
            @of{qw(rate p50 p99 p999 ratio)}, $of_none,
            defined $of{futex} ? sprintf '%.2f', $of{futex} : '-',
            max(map { $_->{connections} } @seen), sum(map { $_->{closed} } @seen),
            sum(map { $_->{bad} + $_->{stalled} } @seen), $says);
    }
    say_on("\n");
    return;
}

# Every round runs all cases, beginning with another one each time.
sub rounds {
    my ($title, $sites, %load) = @_;
    my @order = @CASES;
    my @rounds;
    for (1 .. $ROUNDS) {
        my %seen;
        $seen{ $_->[0] } = measure($sites->{ $_->[1] }, $_, %load) for @order;
        push @rounds, \%seen;
        push @order, shift @order;
    }
    table($title, @rounds);
    my $most = max(map { $_->{connections} } map { values %$_ } @rounds);
    say_on("NOT within the bound: %d connections\n\n", $most) if $most > $BOUND;
    return;
}

sub load {
    my $clients = clients();
    say_on("futex system calls by %s; conns: connections to one memcached, at most %d "
        . "(MemSessConnections is $THREADS, and each member asks for figures on another one now and "
        . "then); closed: idle connections of clients that httpd closed; medians of $ROUNDS rounds "
        . "of $SECONDS s\n\n", Futex::means(), $BOUND);
    my %sites = map { $_ => site($_, $SESSIONS) } qw(bare two cached);
    rounds("$clients keep-alive clients, $RATE requests a second", \%sites,
        connections => $clients, rate => $RATE);
    rounds("$BUSY clients, as fast as they get answers", \%sites, connections => $BUSY);
    $_->close_site for values %sites;
    return;
}

# --- memory ------------------------------------------------------------------

# What it is; its part of all requests; site, sessions, their bytes; the paths, which
# are asked side by side (with a session's form: without a cookie).
my @MEMORY = (
    ['no session',                           0.1,  'bare', 0, 0, '/none'],
    ['1 kB, read and written',               0.5,  'two', 256, 0, '/read', '/write'],
    ['1 kB, new sessions',                   0.1,  'two', 256, 0,
        '/write?' . Sites::session_form(0)],
    ['1 kB, local cache, read and written',  0.3,  'cached', 256, 0, '/read', '/write-told'],
    ['100 kB, read and written',             0.02, 'large', 16, $LARGE, '/read', '/write'],
);

# Kilobytes of all children together.
sub memory_of {
    my ($site, @children) = @_;
    die "a child of $site->{name} was replaced\n" if "@{[sort $site->children]}" ne "@children";
    return { map { my $what = $_; $what => sum map { Rig::mappings($_, $what) } @children }
        qw(Rss Pss Anonymous) };
}

sub ask_for_a_second {
    my ($site, @paths) = @_;
    my @wrk = map { Rig::wrk_start(url => $site->{url} . $paths[$_], seconds => 1, closed => 1,
        connections => $BUSY / @paths, output => Rig::directory() . "/wrk-$_",
        cookies => $paths[$_] =~ /[?]/ ? undef : $site->{cookies},
        follows => scalar($paths[$_] =~ /told/)) } 0 .. $#paths;
    return sum map { $_->{count} } map { Rig::wrk_look($_) } @wrk;
}

sub memory_over {
    my ($what, $part, $name, $sessions, $bytes, @paths) = @_;
    my $site = site($name, $sessions, $bytes || undef);
    my @children = sort $site->children;
    my $total = $REQUESTS * $part;
    my ($count, @at, @seen) = (0, 0.1, 0.5, 1);
    while (@at) {
        $count += ask_for_a_second($site, @paths);
        next if $count < $total * $at[0];
        shift @at while @at && $count >= $total * $at[0];
        push @seen, { count => $count, %{ memory_of($site, @children) } };
    }
    # One second may pass all three marks.
    my ($first, $half, $last) = @seen[0, @seen > 1 ? -2 : -1, -1];
    say_on("%-36s %9d %9d %9d %9d %9d %9d %+9d %+9d %9.1f\n", $what, $last->{count},
        $first->{Pss}, $last->{Pss}, map({ $_->{Anonymous} } $first, $half, $last),
        $last->{Anonymous} - $first->{Anonymous}, $last->{Anonymous} - $half->{Anonymous},
        1024 * ($last->{Anonymous} - $half->{Anonymous}) / ($last->{count} - $half->{count} || 1));
    $site->close_site;
    return;
}

sub memory {
    say_on("memory of $CHILDREN children together, in kB: Pss, and its own pages that are no "
        . "file's (Anonymous), at a tenth, half and the end of all requests\n\n"
        . "%-36s %9s %9s %9s %9s %9s %9s %9s %9s %9s\n", '', 'requests', 'Pss 0.1', 'Pss 1',
        'anon 0.1', 'anon 0.5', 'anon 1', 'growth', 'of it 2nd', 'B/request');
    memory_over(@$_) for @MEMORY;
    say_on("\n");
    return;
}

# -----------------------------------------------------------------------------

my @PARTS = ([load => \&load], [memory => \&memory]);

sub run {
    my %wanted = map { $_ => 1 } @_ ? @_ : map { $_->[0] } @PARTS;
    machine();
    say_on("event, $CHILDREN children with $THREADS threads each\n\n");
    $_->[1]->() for grep { delete $wanted{ $_->[0] } } @PARTS;
    die "no such part: @{[sort keys %wanted]}\n" if %wanted;
    Report::leave('many');
    return;
}

1;
