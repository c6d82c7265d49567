package Speed;

# Requests a second, latency and processor time of all contestants side by side.

use strict;
use warnings;

use Chart;
use Report;
use Rig;
use Sites;

use List::Util qw(max min);

my $SECONDS     = $ENV{BENCH_SECONDS}     || 1;
my $ROUNDS      = $ENV{BENCH_ROUNDS}      || 5;
my $ROUNDS_MORE = $ENV{BENCH_ROUNDS_MORE} || 3;
my @CONNECTIONS = split /[\s,]+/, $ENV{BENCH_CONNECTIONS} || '16 1 256';

# The share of failures that a contestant may have which is known for them.
my $TOLERATED = 0.02;

sub measure {
    my ($name, $place, $connections) = @_;
    my $contestant = $Sites::CONTESTANTS{$name};
    my $site = $place->{site};
    my $url = "$site->{url}$place->{base}$contestant->{path}";
    my @memcached = map { $_->{pid} } @{ $site->{memcached} };
    my $start = sub {
        return Rig::wrk_start(url => $url, seconds => $_[0], connections => $connections,
            cookies => Sites::cookie_of($name, $place) && $place->{cookies},
            follows => $contestant->{follows});
    };

    # Connections to memcached are made, children are up.
    Rig::wrk_look($start->(1)) if !$contestant->{fails} && !$place->{warm}{$name}++;
    Sites::fill($place) if $place->{fresh};
    my @before = (Rig::used(@{ $site->{pids} }), Rig::used(@memcached));
    my $wrk = $start->($SECONDS);
    my $seen = $contestant->{fails} ? Rig::wrk_look($wrk) : eval { Rig::wrk_end($wrk) }
        || die "$name: $@" . $site->complaints;
    $seen->{failed} = ($seen->{bad} + $seen->{stalled}) / ($seen->{count} || 1);
    return { stalled => 1 } if !$seen->{count} || $seen->{failed} > $TOLERATED;
    $seen->{httpd} = 1e6 * (Rig::used(@{ $site->{pids} }) - $before[0]) / $seen->{count};
    $seen->{memcached} = 1e6 * (Rig::used(@memcached) - $before[1]) / $seen->{count};
    return $seen;
}

# Every round runs all contestants, each time from another first one: what the
# machine does besides meets all alike, and ratios are taken within a round.
sub rounds {
    my ($places, $connections, $rounds, @names) = @_;
    my (%result, %stalled);
    for my $round (1 .. $rounds) {
        for my $name (@names) {
            next if $stalled{$name};
            my $place = $places->{ $Sites::CONTESTANTS{$name}{place} };
            my $seen = measure($name, $place, $connections);
            $stalled{$name} = 1 if $seen->{stalled};
            push @{ $result{$name} }, $seen;
        }
        push @names, shift @names;
    }
    delete @result{ keys %stalled };
    return \%result;
}

sub against {
    my ($result, $name, $other, $figure) = @_;
    my ($ours, $theirs) = @$result{ $name, $other };
    return map { $ours->[$_]{$figure} / $theirs->[$_]{$figure} } 0 .. min($#$ours, $#$theirs);
}

sub table {
    my ($result, @names) = @_;
    say_on("%-17s %9s %19s %7s %8s %8s %8s %9s\n", '', 'requests', '', 'of', 'p50', 'p99',
        'httpd', 'memcached');
    say_on("%-17s %9s %19s %7s %8s %8s %8s %9s\n", '', 'a second', 'min - max', 'none', 'ms',
        'ms', 'CPU s', 'CPU s');
    for my $name (@names) {
        my $says = $Sites::CONTESTANTS{$name}{says};
        my $rounds = $result->{$name};
        if (!$rounds) {
            say_on("%-17s %9s %73s  %s\n", $name, 'fails', '',
                "$says: errors or time-outs above 2 %");
            next;
        }
        my %of = map { my $figure = $_; $figure => median(map { $_->{$figure} } @$rounds) }
            qw(rate p50 p99 httpd memcached failed);
        $says .= sprintf '; %.2f %% errors', 100 * $of{failed} if $of{failed};
        my @rates = map { $_->{rate} } @$rounds;
        say_on("%-17s %9.0f %8.0f - %8.0f %7s %8.2f %8.2f %8.1f %9.1f  %s\n", $name, $of{rate},
            min(@rates), max(@rates),
            $result->{none} ? sprintf('%.3f',
                median(against($result, $name, 'none', 'rate'))) : '-',
            @of{qw(p50 p99 httpd memcached)}, $says);
    }
    say_on("\n");
    return;
}

sub goals {
    my ($result) = @_;
    my $header = 0;
    for my $goal (@Sites::GOALS) {
        my ($name, $other, $least) = @$goal;
        next if !$result->{$name} || !$result->{$other};
        say_on("%-35s %7s %17s %10s %5s\n", 'ratios', 'rate', 'min - max', 'httpd CPU', 'goal')
            if !$header++;
        my @ratios = against($result, $name, $other, 'rate');
        say_on("%-35s %7.3f %7.3f - %7.3f %10.3f %5s\n", "$name / $other", median(@ratios),
            min(@ratios), max(@ratios), median(against($result, $name, $other, 'httpd')),
            $least || '');
    }
    say_on("\n") if $header;
    return;
}

# A log that has grown tells of work that was measured and not meant.
sub complaints {
    my ($places) = @_;
    my %sites = map { $_->{site}{name} => $_->{site} } values %$places;
    # Plain sessions, without a secret, are some of what is measured.
    return map { [$_, grep { !/notice\]|no MemSessSecret/ } split /\n/,
        Rig::slurp($sites{$_}{log})] } sort keys %sites;
}

sub run {
    my @names = Sites::chosen(@_);
    machine();
    say_on("$Sites::SESSION_BYTES-byte sessions of @{[scalar @Sites::ATTRIBUTES]} attributes; "
        . "keep-alive; a request's session is nobody else's at that time; CPU seconds are of "
        . "10^6 requests\n\n");
    my (@csv, @panels);
    for my $connections (@CONNECTIONS) {
        my $rounds = $connections == $CONNECTIONS[0] ? $ROUNDS : $ROUNDS_MORE;
        say_on("%s: $rounds interleaved rounds of $SECONDS s; medians\n\n",
            $connections == 1 ? '1 connection' : "$connections connections");
        my $places = Sites::open_places($connections, {}, @names);
        my $check = sub {
            Sites::check($_, $places->{ $Sites::CONTESTANTS{$_}{place} }) for @_;
        };
        $check->(@names);
        my $result = rounds($places, $connections, $rounds, @names);
        $check->(grep { $result->{$_} } @names);
        table($result, @names);
        goals($result);
        for (grep { @$_ > 1 } complaints($places)) {
            my ($site, $first, @rest) = @$_;
            say_on("%s", "the log of $site has @{[1 + @rest]} lines, the first is: $first\n\n");
        }
        Sites::close_places($places);
        for my $name (grep { $result->{$_} } @names) {
            push @csv, map { my $r = $_; join(',', $connections, $name, map { $_ // '' }
                @$r{qw(rate p50 p99 httpd memcached)}) . "\n" } @{ $result->{$name} };
        }
        push @panels, { title => "$connections keep-alive connection(s)", bars => [map {
            [$_, $result->{$_} ? median(map { $_->{rate} } @{ $result->{$_} }) : undef,
                $Sites::CONTESTANTS{$_}{says}] } @names] };
    }
    Report::leave('speed',
        'speed.svg' => Chart::bars('Requests a second', @panels),
        'speed.csv' => join '', "connections,contestant,rate,p50_ms,p99_ms,"
            . "httpd_cpu_s_per_million,memcached_cpu_s_per_million\n", @csv);
    return;
}

1;
