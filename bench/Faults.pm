package Faults;

# Latency with four memcacheds and two copies: all up, one killed, one stopped;
# while that is found out, and after.

use strict;
use warnings;

use Goals;
use Report;
use Rig;
use Sites;

use Time::HiRes qw(sleep time);

my $SECONDS = $ENV{BENCH_SECONDS} || 2;
my $ROUNDS  = $ENV{BENCH_ROUNDS}  || 5;
my $CONNECTIONS = 16;
my $SESSIONS = 256;
my $GOAL = 1.2;

# Each is compared with the run of all servers that was right before.
my @PHASES = (
    ['all up',              'all up',       'before anything happens'],
    ['killed, found out',   'all up',       'it is killed in the middle of the run'],
    ['killed',              'all up',       'after that'],
    ['all up again',        'all up again', 'and its copies are repaired'],
    ['stopped, found out',  'all up again', 'SIGSTOP in the middle of the run'],
    ['stopped',             'all up again', 'after that'],
);

sub load {
    my ($place, $path, $meanwhile) = @_;
    my $wrk = Rig::wrk_start(url => $place->{url} . $path, seconds => $SECONDS,
        connections => $CONNECTIONS, cookies => $place->{cookies});
    if ($meanwhile) {
        sleep $SECONDS / 4;
        $meanwhile->();
    }
    return Rig::wrk_look($wrk);
}

# Waits until this member has seen all its servers answer, and its copies are whole.
sub recover {
    my ($site) = @_;
    my $backs = sub { my $log = Rig::slurp($site->{log}); [scalar(() = $log =~ /is down/g),
        scalar(() = $log =~ /is back/g)] };
    Rig::await(30, sub { my $n = $backs->(); $n->[0] == $n->[1] })
        or die "a server is not back\n" . $site->complaints;
    $site->get('/read', $_) for @{ $site->{cookies} };
    sleep 0.3;
    $site->get('/read', $_) for @{ $site->{cookies} };
    return;
}

sub one_round {
    my ($site, $path) = @_;
    my @victims = @{ $site->{memcached} }[0, 1];
    my %seen;
    $seen{'all up'} = load($site, $path);

    $seen{'killed, found out'} = load($site, $path, sub { Rig::stop($victims[0]{pid}, 'KILL') });
    $seen{'killed'} = load($site, $path);
    $site->{memcached}[0] = Rig::memcached($victims[0]{name}, port => $victims[0]{port});
    recover($site);

    $seen{'all up again'} = load($site, $path);
    $seen{'stopped, found out'} = load($site, $path, sub { kill 'STOP', $victims[1]{pid} });
    $seen{'stopped'} = load($site, $path);
    kill 'CONT', $victims[1]{pid};
    recover($site);
    return \%seen;
}

sub table {
    my ($title, @rounds) = @_;
    my %ratios;
    say_on("%-22s %9s %9s %9s %9s %9s %8s\n", $title, 'a second', 'p50 ms', 'p99 ms', 'of all up',
        'longest', 'errors');
    for my $phase (@PHASES) {
        my ($name, $before, $says) = @$phase;
        my %of = map { my $figure = $_; $figure => median(map { $_->{$name}{$figure} } @rounds) }
            qw(rate p50 p99 longest);
        $ratios{$name} = [map { $_->{$name}{p99} / $_->{$before}{p99} } @rounds];
        my $errors = 0;
        $errors += $_->{$name}{bad} + $_->{$name}{stalled} for @rounds;
        say_on("%-22s %9.0f %9.2f %9.2f %9.2f %9.1f %8d  %s\n", $name, @of{qw(rate p50 p99)},
            median(@{ $ratios{$name} }), $of{longest}, $errors, $says);
    }
    say_on("\n");
    return @{ $ratios{stopped} };
}

sub run {
    machine();
    say_on("four memcacheds, two copies, $CONNECTIONS connections, $SESSIONS sessions; medians of "
        . "$ROUNDS rounds, runs of $SECONDS s; MemSessTimeout is 250 ms\n"
        . "goal: p99 of reads, stopped / all up: $GOAL or less\n\n");
    my $site = Sites::memsess_site('four', copies => 2, servers => 4, timeout => '250ms');
    $site->{cookies} = [map { Sites::make_session($site, '/write', Sites::session_form($_)) }
        0 .. $SESSIONS - 1];
    for my $path (@_ ? map {"/$_"} @_ : qw(/read /write)) {
        load($site, $path);
        my @ratios = table(substr($path, 1), map { one_round($site, $path) } 1 .. $ROUNDS);
        Goals::note('p99 of reads, one stopped / all up', $GOAL, \@ratios, 'at most')
            if $path eq '/read';
    }
    Sites::show_session($site, '/show', $_) for @{ $site->{cookies} };
    say_on("all $SESSIONS sessions are still there, whole\n");
    Report::leave('faults');
    return;
}

1;
