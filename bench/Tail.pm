package Tail;

# The tail of latency where one of two, three and four servers is killed, hangs
# or is slow: before, while that is found out, and after.

use strict;
use warnings;

use Delay;
use Report;
use Rig;
use Sites;

use List::Util qw(max sum);
use Time::HiRes qw(sleep);

my $SECONDS = $ENV{BENCH_SECONDS} || 3;
my $RATE    = $ENV{BENCH_RATE}    || 300;
my @POOLS   = split /[\s,]+/, $ENV{BENCH_POOLS} || '2 3 4';

my ($CHILDREN, $THREADS) = (2, 64);
my $CLIENTS = 120;
my $SESSIONS = 128;
my $SLOW = 0.1;    # seconds that a slow server takes for each answer
my $RETRY = 2;     # seconds: MemSessRetry
my $LONG = 200;    # ms; less than MemSessTimeout, more than a slow server's answer

# Name, MemSessTimeout, whether a relay is before the server; what is done to it, and undone.
my @FAULTS = (
    ['killed', '250ms', 0,
        sub { Rig::stop($_[0]{memcached}[0]{pid}, 'KILL') },
        sub { my ($gone) = $_[0]{memcached}[0];
            $_[0]{memcached}[0] = Rig::memcached($gone->{name}, port => $gone->{port}) }],
    ['hangs', '250ms', 0,
        sub { kill 'STOP', $_[0]{memcached}[0]{pid} },
        sub { kill 'CONT', $_[0]{memcached}[0]{pid} }],
    ['slow', '250ms', 1, sub { Delay::slow($_[0]{relay}) }, sub { Delay::quick($_[0]{relay}) }],
    ['slow', '50ms', 1, sub { Delay::slow($_[0]{relay}) }, sub { Delay::quick($_[0]{relay}) }],
);

my @PHASES = (
    ['all up',      'before anything happens'],
    ['found out',   'it happens a quarter into the run'],
    ['after',       'it goes on'],
    ['again',       'it is undone, and the server is back'],
);

# httpd's own log tells the time of each request, and which child had it.
my $CONF = <<'CONF';
<IfModule !log_config_module>
    LoadModule log_config_module "%%(modules)/mod_log_config.so"
</IfModule>
LogFormat "%%P %%D %%>s" times
CustomLog "%s" times
<Location "/status">
    SetHandler memsess-status
</Location>
CONF

sub site {
    my ($servers, $timeout, $is_relayed) = @_;
    my $name = "tail-$servers-$timeout-$is_relayed";
    my @memcached = map { Rig::memcached("memcached-$name-$_") } 1 .. $servers;
    my @addresses = map { $_->{address} } @memcached;
    my $relay = $is_relayed ? Delay::before($memcached[0], $SLOW, 'quick') : undef;
    $addresses[0] = $relay->{address} if $relay;
    my $times = Rig::directory() . "/$name.times";
    my $site = Sites::memsess_site($name, copies => 2, timeout => $timeout,
        children => $CHILDREN, threads => $THREADS, memcached => \@memcached,
        addresses => \@addresses, conf => sprintf($CONF, $times));
    @$site{qw(times relay servers)} = ($times, $relay, $servers);
    $site->{cookies} = [map { Sites::make_session($site, '/write', Sites::session_form($_)) }
        0 .. $SESSIONS - 1];
    return $site;
}

# --- one run -----------------------------------------------------------------

# The lines that httpd logged since then: child, microseconds, status.
sub logged {
    my ($site, $since) = @_;
    open my $in, '<', $site->{times} or die "$site->{times}: $!\n";
    seek $in, $since, 0;
    return map { [split] } grep { /\n\z/ } <$in>;
}

sub percentile {
    my ($part, @sorted) = @_;
    return $sorted[$#sorted * $part];
}

sub load {
    my ($site, $path, $meanwhile) = @_;
    my $since = -s $site->{times};
    my $clients = Rig::clients_start(url => $site->{url} . $path, seconds => $SECONDS,
        connections => $CLIENTS, rate => $RATE, cookies => $site->{cookies});
    if ($meanwhile) {
        sleep $SECONDS / 4;
        $meanwhile->($site);
    }
    my $seen = Rig::clients_look($clients);
    my @lines;
    Rig::await(10, sub { @lines = logged($site, $since); @lines >= $seen->{count} });
    my @sorted = sort { $a <=> $b } map { $_->[1] / 1000 } @lines;
    my %long;
    $long{ $_->[0] }++ for grep { $_->[1] > 1000 * $LONG } @lines;
    return { p50 => percentile(0.5, @sorted), p99 => percentile(0.99, @sorted),
        p999 => percentile(0.999, @sorted), longest => $sorted[-1], long => max(0, values %long),
        errors => $seen->{stalled} + grep { $_->[2] != 200 } @lines };
}

# --- faults ------------------------------------------------------------------

sub await_state {
    my ($site, $state, $count) = @_;
    Rig::await(30, sub {
        my $seen = () = $site->get('/status?format=json')->{content} =~ /"state":\s*"$state"/g;
        return $seen == $count;
    }) or die "not $count servers are $state\n" . $site->complaints;
    return;
}

# All servers are up for each child, which looks every MemSessRetry, and each session has
# its copies.
sub recover {
    my ($site) = @_;
    await_state($site, 'up', $site->{servers});
    sleep $RETRY;
    for (1, 2) {
        for my $cookie (@{ $site->{cookies} }) {
            Rig::await(30, sub { eval { $site->get('/read', $cookie) } })
                or die "a session is not back\n" . $site->complaints;
        }
        sleep 0.3;
    }
    return;
}

sub phases {
    my ($site, $path, $break, $mend) = @_;
    my %seen = ('all up' => load($site, $path));
    $seen{'found out'} = load($site, $path, $break);
    $seen{after} = load($site, $path);
    $mend->($site);
    recover($site);
    $seen{again} = load($site, $path);
    return \%seen;
}

sub report {
    my ($what, $path, $seen) = @_;
    for my $phase (@PHASES) {
        my ($name, $says) = @$phase;
        my $of = $seen->{$name};
        say_on("%-20s %-5s %-10s %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f %6d %6d  %s\n", $what,
            substr($path, 1), $name, @$of{qw(p50 p99 p999)},
            map({ $of->{$_} / $seen->{'all up'}{$_} } qw(p50 p99 p999)), @$of{qw(long errors)},
            $says);
    }
    return;
}

sub pool_with {
    my ($servers, $fault) = @_;
    my ($name, $timeout, $is_relayed, $break, $mend) = @$fault;
    my $site = site($servers, $timeout, $is_relayed);
    for my $path (qw(/read /write)) {
        load($site, $path);    # connections are made
        report("1 of $servers $name, $timeout", $path, phases($site, $path, $break, $mend));
    }
    Sites::show_session($site, '/show', $_) for @{ $site->{cookies} };
    Rig::stop($site->{relay}{pid}) if $site->{relay};
    $site->close_site;
    return;
}

# Faults by name, such as: killed hangs slow.
sub run {
    my %wanted = map { $_ => 1 } @_ ? @_ : map { $_->[0] } @FAULTS;
    machine();
    say_on("two copies; $RATE requests a second for $SECONDS s each, event with $CHILDREN children "
        . "of $THREADS threads; times in ms, as httpd logs them, and ratios to all up; long: "
        . "requests of one child that took more than $LONG ms, of the child that had more; a slow "
        . "server takes @{[1000 * $SLOW]} ms for each answer\n\n");
    say_on("%-20s %-5s %-10s %8s %8s %8s %8s %8s %8s %6s %6s\n", 'server, MemSessTimeout', '', '',
        'p50', 'p99', 'p99.9', 'p50', 'p99', 'p99.9', 'long', 'errors');
    for my $fault (grep { $wanted{ $_->[0] } } @FAULTS) {
        pool_with($_, $fault) for @POOLS;
    }
    Report::leave('tail');
    return;
}

1;
