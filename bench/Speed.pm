package Speed;

# Requests a second, latency and processor time of all contestants side by side.

use strict;
use warnings;

use Chart;
use Goals;
use Report;
use Rig;
use Sites;

use List::Util qw(max min sum);
use Time::HiRes qw(time);

my $SECONDS     = $ENV{BENCH_SECONDS}     || 1;
my $ROUNDS      = $ENV{BENCH_ROUNDS}      || 5;
my $ROUNDS_MORE = $ENV{BENCH_ROUNDS_MORE} || 3;
my $MINUTES     = $ENV{BENCH_MINUTES}     || 15;
my @CONNECTIONS = split /[\s,]+/, $ENV{BENCH_CONNECTIONS} || '16 1 256';

# The share of failures that a contestant may have which is known for them.
my $TOLERATED = 0.02;

# The client takes new cookies if it is told to, or the contestant needs one that does.
sub measure {
    my ($name, $place, $connections, $follows) = @_;
    my $contestant = $Sites::CONTESTANTS{$name};
    my $site = $place->{site};
    my $url = "$site->{url}$place->{base}$contestant->{path}";
    my @memcached = map { $_->{pid} } @{ $site->{memcached} };
    my $start = sub {
        return Rig::wrk_start(url => $url, seconds => $_[0], connections => $connections,
            cookies => Sites::cookie_of($name, $place) && $place->{cookies},
            follows => $follows || $contestant->{follows});
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

# Every round runs all contestants, beginning with another one each time: so other
# work of the machine meets all alike, and ratios are taken within a round. There
# are two rounds at least, and no further one when time is up.
sub rounds {
    my ($places, $connections, $rounds, $end, @names) = @_;
    my (%result, %stalled);
    for my $round (1 .. $rounds) {
        last if $round > 2 && time() > $end;
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

# Pairs with a goal are measured again, one right after the other, in alternating
# order: over a whole round a machine may change its speed by more than the
# difference. Returns ratios by "one / other", for each figure.
sub pairs {
    my ($places, $connections, $rounds, $end, @goals) = @_;
    my %ratios;
    for my $round (1 .. $rounds) {
        last if $round > 2 && time() > $end;
        for my $goal (@goals) {
            my ($name, $other) = @$goal;
            my $follows = grep { $Sites::CONTESTANTS{$_}{follows} } $name, $other;
            my %seen;
            for ($round % 2 ? ($name, $other) : ($other, $name)) {
                my $place = $places->{ $Sites::CONTESTANTS{$_}{place} };
                $seen{$_} = measure($_, $place, $connections, $follows);
            }
            next if grep { $_->{stalled} } values %seen;
            push @{ $ratios{"$name / $other"}{$_} }, $seen{$name}{$_} / $seen{$other}{$_}
                for qw(rate httpd);
        }
        push @goals, shift @goals if @goals;
    }
    return \%ratios;
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

# The pairs of which both could be measured; of some, only those with a goal.
sub comparable {
    my ($result, $with_goal) = @_;
    return grep { $result->{ $_->[0] } && $result->{ $_->[1] } && (!$with_goal || $_->[2]) }
        @Sites::GOALS;
}

sub ratios {
    my ($result, $pairs) = @_;
    my @comparable = comparable($result) or return;
    say_on("%-35s %7s %17s %10s %6s\n", 'ratios', 'rate', 'min - max', 'httpd CPU', 'goal');
    for my $goal (@comparable) {
        my ($name, $other, $least) = @$goal;
        my $pair = $pairs->{"$name / $other"};
        my @rates = $pair ? @{ $pair->{rate} } : against($result, $name, $other, 'rate');
        my @costs = $pair ? @{ $pair->{httpd} } : against($result, $name, $other, 'httpd');
        say_on("%-35s %7.3f %7.3f - %7.3f %10.3f %6s%s\n", "$name / $other", median(@rates),
            min(@rates), max(@rates), median(@costs), $least || '', $pair ? '  side by side' : '');
        Goals::note("$name / $other", $least, \@rates) if $pair;
    }
    say_on("\n");
    return;
}

# If a log has grown, something was measured that was not meant.
sub complaints {
    my ($places) = @_;
    my %sites = map { $_->{site}{name} => $_->{site} } values %$places;
    # Plain sessions, without a secret, are some of what is measured.
    return map { [$_, grep { !/notice\]|no MemSessSecret/ } split /\n/,
        Rig::slurp($sites{$_}{log})] } sort keys %sites;
}

sub bar {
    my ($name, $rounds) = @_;
    my $contestant = $Sites::CONTESTANTS{$name};
    my $rate = $rounds && median(map { $_->{rate} } @$rounds);
    return { name => $name, value => $rate, ours => Sites::is_ours($name),
        text => ($rounds ? sprintf '%.0f', $rate : 'fails') . "  $contestant->{says}" };
}

sub csv {
    my ($connections, $name, @rounds) = @_;
    return map { join(',', $connections, $name,
        map { $_ // '' } @$_{qw(rate p50 p99 httpd memcached)}) . "\n" } @rounds;
}

# One number of connections; its bars for the chart, and lines of CSV.
sub with_connections {
    my ($connections, $rounds, $with_pairs, $end, @names) = @_;
    my $places = Sites::open_places($connections, {}, @names);
    my $check = sub {
        Sites::check($_, $places->{ $Sites::CONTESTANTS{$_}{place} }) for @_;
    };
    $check->(@names);
    my $result = rounds($places, $connections, $rounds, $end->(0), @names);
    my @goals = $with_pairs ? comparable($result, 1) : ();
    my $pairs = pairs($places, $connections, $rounds, $end->(1), @goals);
    my @good = grep { $result->{$_} } @names;
    $check->(@good);
    say_on("%s: %d interleaved rounds of $SECONDS s; medians\n\n",
        $connections == 1 ? '1 connection' : "$connections connections",
        max(0, map { scalar @{ $result->{$_} } } @good));
    table($result, @names);
    ratios($result, $pairs);
    for (grep { @$_ > 1 } complaints($places)) {
        my ($site, $first, @rest) = @$_;
        say_on("%s", "the log of $site has @{[1 + @rest]} lines, the first is: $first\n\n");
    }
    Sites::close_places($places);
    my @csv = map { csv($connections, $_, @{ $result->{$_} }) } @good;
    return ({ title => "requests a second, $connections keep-alive connection(s)",
        bars => [map { bar($_, $result->{$_}) } @names] }, @csv);
}

sub run {
    my @names = Sites::chosen(@_);
    my @machine = machine();
    say_on("$Sites::SESSION_BYTES-byte sessions of @{[scalar @Sites::ATTRIBUTES]} attributes; "
        . "keep-alive; a request's session is nobody else's at that time; CPU seconds are of "
        . "10^6 requests\n\n");
    # The first one has pairs, too; each number of connections gets its part of the time.
    my @parts = ($ROUNDS, $ROUNDS / 2, ($ROUNDS_MORE) x $#CONNECTIONS);
    my $begun = time();
    my $end = sub { return $begun + 60 * $MINUTES * sum(@parts[0 .. $_[0]]) / sum(@parts) };
    my (@csv, @panels);
    for my $i (0 .. $#CONNECTIONS) {
        my ($panel, @lines) = with_connections($CONNECTIONS[$i], $i ? $ROUNDS_MORE : $ROUNDS, !$i,
            sub { $end->($i ? $i + 1 : $_[0]) }, @names);
        push @panels, $panel;
        push @csv, @lines;
    }
    Report::leave('speed',
        'speed.svg' => Chart::bars('mod_memsess and others', \@machine, Goals::panel(), @panels),
        'speed.csv' => join '', "connections,contestant,rate,p50_ms,p99_ms,"
            . "httpd_cpu_s_per_million,memcached_cpu_s_per_million\n", @csv);
    return;
}

1;
