package Storm;
# Starts members, memcacheds and workers, makes the faults, and gives the verdict. Between two
# faults every server is up for a while, and every session is read once: then each session has all
# its copies again, which the promise relies on.
use strict;
use warnings;
use lib 't/lib', 'soak';

use Crowd;
use Cwd qw(getcwd);
use HTTP::Tiny;
use IO::Select;
use IO::Socket::UNIX;
use MemSess::Member;
use MemSess::Memcached;
use MemSess::Process qw(free_port);
use MemSess::Site;
use Socket;
use Time::HiRes qw(sleep time);
use Worker;

my $SECONDS = $ENV{SOAK_SECONDS} || 600;
my $SEED    = $ENV{SOAK_SEED} // int rand 1e9;
my $MAX_AGE = $ENV{SOAK_CACHE} || 0;
my $LOCK    = $ENV{SOAK_LOCK} || 'commit';
my $CLOCKS  = $ENV{SOAK_CLOCKS};
my $WORKERS = 4;
my $SHARED  = 4;
my $VISITORS = 20;

# Seconds. A reading waits only for servers, a change also for other writers; a busy machine gets
# one second more.
my ($TIMEOUT, $RETRY, $LOCK_WAIT) = (0.5, 0.5, 5);
my %BOUND = (read => 4 * $TIMEOUT + 1, change => $LOCK_WAIT + 4 * $TIMEOUT + 1);

my ($begun, @servers, @members, @crowded, @workers, %told, $fault, $faults);

exit main() unless caller;

sub main {
    $| = 1;
    srand $SEED;
    print "seed $SEED, $SECONDS s, @{[ $MAX_AGE ? qq(local cache of $MAX_AGE s, ) : '' ]}",
        $CLOCKS ? "clocks $CLOCKS apart, " : '', 'bound: ',
        join(', ', map { sprintf '%s %d ms', $_, 1000 * $BOUND{$_} } sort keys %BOUND), "\n";
    start();
    $begun = time;
    while (time - $begun < $SECONDS) {
        make_fault();
        everything_touched();
        attend(rand 1);
    }
    return verdict(finish());
}

sub start {
    MemSess::Site::prepare(backend => free_port(), memcached => '');
    @servers = map { MemSess::Memcached->start } 1 .. 4;
    @members = two_members(config());
    @crowded = two_members(crowd_config());
    my @ports    = map { $_->port } @members;
    my @visitors = visitors(@ports);
    my @shared = map { Worker::shared_session($ports[$_ % 2]) } 1 .. $SHARED;
    hire('Worker', $_, ports => \@ports, shared => \@shared, visitors => \@visitors,
        max_age => $MAX_AGE) for 1 .. $WORKERS;
    hire('Crowd', $WORKERS + 1, ports => [map { $_->port } @crowded], shared => []);
}

sub two_members {
    my ($config) = @_;
    return map {
        MemSess::Member->start(servers => \@servers, config => $config,
            $CLOCKS ? (clock => $_ ? "+$CLOCKS" : 0) : ())
    } 0, 1;
}

# Starts a client in a process of its own.
sub hire {
    my ($class, $id, %args) = @_;
    my ($here, $there) = IO::Socket::UNIX->socketpair(AF_UNIX, SOCK_STREAM, PF_UNSPEC);
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $_ for $here, map { $_->{line} } @workers;
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        $class->new(id => $id, seed => $SEED + $id, parent => $there, %args)->work;
        POSIX::_exit(0);
    }
    push @workers, { id => $id, pid => $pid, line => $here };
}

# Valid cookies of sessions that no longer exist.
sub visitors {
    my @ports = @_;
    my @cookies = map { Worker::shared_session($ports[$_ % 2]) } 1 .. $VISITORS;
    for my $server (@servers) {
        $server->delete($_) for $server->keys;
    }
    sleep $MAX_AGE;
    return @cookies;
}

sub config { return base_config() . ($MAX_AGE ? cache_config() : '') }

sub base_config {
    my ($timeout, $retry) = map { 1000 * $_ } $TIMEOUT, $RETRY;
    return qq(
    LogLevel warn memsess:info
    MaxKeepAliveRequests 0
    LuaMapHandler ^/step "@{[ getcwd() ]}/soak/step.lua"
    ScriptAlias /slow "@{[ getcwd() ]}/soak/slow"
    <Directory "@{[ getcwd() ]}/soak">
        Require all granted
    </Directory>
    MemSessRedundancy 2
    MemSessTimeout ${timeout}ms
    MemSessRetry ${retry}ms
    MemSessLock $LOCK
    MemSessLockWait ${LOCK_WAIT}s
    MemSessRefresh 1s
);
}

# Without a cache, a session that has ended is over at once.
sub crowd_config {
    return base_config() . "    MemSessNamespace crowd\n    MemSessUserSessions $Crowd::MOST\n";
}

# The cache is small, so that some of it is overwritten.
sub cache_config {
    my $secret = getcwd() . '/soak/secret';
    open my $out, '>', $secret or die "$secret: $!";
    print $out "a secret of the soak run's own, long enough\n";
    close $out or die "$secret: $!";
    chmod 0600, $secret or die "$secret: $!";
    return sprintf <<'CONFIG', $secret, 1000 * $MAX_AGE;
    MemSessSecret "file:%s"
    MemSessLocalCache 256K max-age=%dms
    <Location "/status">
        SetHandler memsess-status
    </Location>
CONFIG
}

# How often the members' caches answered, and how often they did not.
sub cache_counts {
    my %sum = (hits => 0, misses => 0);
    for my $member (@members) {
        my $text = HTTP::Tiny->new->get('http://127.0.0.1:' . $member->port
            . '/status?format=json')->{content};
        my ($cache) = $text =~ /"local_cache":\s*\{(.*?)\}/s or die "no status: $text\n";
        $sum{$_} += $cache =~ /"$_":\s*(\d+)/ ? $1 : die "no $_: $cache\n" for keys %sum;
    }
    return @sum{qw(hits misses)};
}

# ---- faults ----

# How long something lasts: often short, sometimes long.
sub span { my ($most) = @_; return $most * rand() ** 2 }

sub make_fault {
    my $n      = int rand @servers;
    my $server = $servers[$n];
    my $what   = (qw(kill kill bounce stop stop stop blink))[rand 7];
    $fault = sprintf '%.1f s: %s memcached %d', time - $begun, $what, $n;
    $faults++;
    tell_all("fault $fault");
    if ($what eq 'kill' or $what eq 'bounce') {
        $server->kill9;
        attend($what eq 'kill' ? 0.1 + span(5) : 0);
        $server->restart;
    }
    else {
        $server->pause;
        attend($what eq 'stop' ? 0.1 + span(6) : rand(1.5 * $TIMEOUT));
        $server->resume;
    }
    # Waits until every child process knows. If clocks differ, it also waits for the server's own
    # clock, which counts seconds, to show that a write comes after the server's return.
    attend($RETRY + $TIMEOUT + 1 + ($CLOCKS ? 3 : 0));
}

# ---- talking to the workers, a line each way ----

sub tell_all { my ($line) = @_; $_->{line}->syswrite("$line\n") for @workers }

# Listens to the workers for this long, or until the condition is true.
sub attend {
    my ($seconds, $condition) = @_;
    my $end    = time + $seconds;
    my $select = IO::Select->new(map { $_->{line} } @workers);
    while (!$condition || !$condition->()) {
        my $left = $end - time;
        return if $left <= 0;
        for my $line ($select->can_read($left)) {
            my ($worker) = grep { $_->{line} == $line } @workers;
            hear($worker);
        }
    }
    return 1;
}

sub hear {
    my ($worker) = @_;
    $worker->{line}->sysread($worker->{heard}, 65536, length($worker->{heard} // ''))
        or die "worker $worker->{id} is gone\n";
    while ($worker->{heard} =~ s/^(.*)\n//) {
        my ($what, $rest) = split / /, $1, 2;
        if ($what eq 'done') { $worker->{done} = $rest }
        elsif ($what eq 'count') { my ($name, $n) = split / /, $rest; $told{$name} += $n }
        elsif ($what eq 'most') { my ($name, $n) = split / /,
            $rest; $told{$name} = $n if $n > ($told{$name} // 0) }
        else { printf "%.1f s: %s %s\n", time - $begun, $what, $rest }
    }
}

my $asked = 0;

sub ask_all {
    my ($what, $seconds) = @_;
    $asked++;
    tell_all("$what $asked");
    attend($seconds, sub { !grep { ($_->{done} // 0) != $asked } @workers })
        or die "the workers do not answer within $seconds s\n";
}

sub everything_touched { ask_all('touch', 300) }

# ---- the end ----

sub finish {
    ask_all('pause', 300);
    ask_all('report', 60);
    $_->{line}->close, waitpid $_->{pid}, 0 for @workers;
    return;
}

sub verdict {
    my %n = map { $_ => $told{$_} // 0 } qw(sessions operations refused lost stale revived
        other calm longest-read longest-change increments unsure first visitors everywhere
        crowd refused-first refused-visitors refused-everywhere);
    for my $k (1 .. $SHARED) {
        my ($total, $sure, $unsure) = map { $told{"$_-$k"} // 0 } qw(total sure unsure);
        printf "shared session %d: %d increments, %d acknowledged, %d of unknown outcome\n", $k,
            $total, $sure, $unsure;
        $n{lost}  += $sure - $total if $total < $sure;
        $n{other} += $total - $sure - $unsure if $total > $sure + $unsure;
    }
    my @crashes = grep { /exit signal|AddressSanitizer|runtime error:/ } map { split /\n/,
        $_->log->text } @members, @crowded;
    print "$_\n" for @crashes;
    $n{other} += @crashes;
    my ($longest) = sort { $b <=> $a } @n{qw(longest-read longest-change)};
    printf "%d faults; refused while all servers were up %d; longest reading %d ms, "
        . "longest change %d ms; other violations %d\n",
        $faults, @n{qw(calm longest-read longest-change other)};
    print join(', ', map { sprintf '%s %d (refused %d)', $_->[0], @n{$_->[1], "refused-$_->[1]"} }
        ['first log-ins', 'first'], ['visitors with old cookies', 'visitors'],
        ['log-outs everywhere', 'everywhere']), "\n";
    print "users with many log-ins at once: $n{crowd}\n";
    $n{other}++ if !$n{crowd};
    if ($MAX_AGE) {
        my ($hits, $misses) = cache_counts();
        printf "local cache: %d reads served, %d from the pool\n", $hits, $misses;
        $n{other}++ if !$hits;
    }
    my @late = grep { $n{"longest-$_"} > 1000 * $BOUND{$_} } sort keys %BOUND;
    print "beyond the bound: ", join(', ', @late), "\n" if @late;
    printf "sessions %d, operations %d, refused %d (503), lost %d, stale %d, revived %d, "
        . "longest request %d ms\n",
        @n{qw(sessions operations refused lost stale revived)}, $longest;
    return $n{refused} + $n{lost} + $n{stale} + $n{revived} + $n{other} + @late ? 1 : 0;
}

1;
