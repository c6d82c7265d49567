package Caches;

# Candidates for a local cache, side by side: our ring, and httpd's own shared
# memory under a mutex.

use strict;
use warnings;

use Report;
use Rig;

use List::Util qw(min);

my $SECONDS = $ENV{BENCH_SECONDS} || 1;
my $ROUNDS  = $ENV{BENCH_ROUNDS}  || 3;
my $OPERATIONS = 500;    # in one request, so that what is around them does not count
my @BUSY = split /[\s,]+/, $ENV{BENCH_CONNECTIONS} || '2 8';    # threads, of both children
my ($CHILDREN, $THREADS) = (2, 32);

# Name, kind of mutex, cache, and what it is.
my @CACHES = (
    ['ring',            'file',    'ring',     'ours, without a lock'],
    ['shmcb-file',      'file',    'shmcb',    q(mod_socache_shmcb, with Debian's kind of mutex)],
    ['shmcb-pthread',   'pthread', 'shmcb',    'the same, with a pthread mutex'],
    ['slotmem-file',    'file',    'slotmem',  q(mod_slotmem_shm, with Debian's kind of mutex)],
    ['slotmem-pthread', 'pthread', 'slotmem',  'the same, with a pthread mutex'],
    ['slotmem-none',    'file',    'unlocked', 'the same, without: torn records are told by hash'],
);
my @WORK = ([get => 'reads'], [mixed => 'reads, and every tenth a write']);

# As Debian's apache2.conf says it, and as fast as it gets.
my %MUTEX = (file => 'file:%(dir)', pthread => 'pthread');

my $CONFIG = <<'CONFIG';
LoadModule caches_module "%(dir)/mod_caches.so"
<Location "/caches">
    SetHandler caches
</Location>
CONFIG

sub site {
    my ($kind) = @_;
    return Rig::httpd("mutex-$kind", children => $CHILDREN, threads => $THREADS,
        modules => [qw(socache_shmcb slotmem_shm)],
        conf => $CONFIG . "Mutex $MUTEX{$kind} bench-caches\n");
}

sub measure {
    my ($site, $path, $busy) = @_;
    my $start = sub {
        return Rig::wrk_start(url => "$site->{url}/caches/$path?$OPERATIONS", seconds => $_[0],
            connections => $busy, closed => 1);
    };
    Rig::wrk_end($start->(1)) if !$site->{warm}{$path}++;
    $site->get('/caches/misses');
    my $before = Rig::used($site->{pid});
    my $seen = Rig::wrk_end($start->($SECONDS));
    my $count = $seen->{count} * $OPERATIONS;
    return {
        rate   => $seen->{rate} * $OPERATIONS,
        cpu    => 1e6 * (Rig::used($site->{pid}) - $before) / $count,
        misses => $site->get('/caches/misses')->{content} / $count,
    };
}

# Each cache runs right beside the ring, so that both meet the same machine, in
# alternating order.
sub one_round {
    my ($round, $site, $work, $busy) = @_;
    my %seen;
    my ($ring, @others) = @CACHES;
    for my $cache (@others) {
        my @pair = $round % 2 ? ($ring, $cache) : ($cache, $ring);
        my %of = map { $_->[0] => measure($site->{ $_->[1] }, "$_->[2]/$work", $busy) } @pair;
        my $ours = $of{ $ring->[0] };
        my $theirs = $of{ $cache->[0] };
        $theirs->{ratio} = $theirs->{rate} / $ours->{rate};
        $seen{ $cache->[0] } = $theirs;
        $seen{ $ring->[0] } ||= { %$ours, ratio => 1 };
    }
    return \%seen;
}

sub table {
    my ($title, @rounds) = @_;
    say_on("%s\n%-16s %12s %8s %10s %8s\n", $title, '', 'a second', 'of ring', 'CPU us', 'missed');
    for my $cache (@CACHES) {
        my ($name, undef, undef, $says) = @$cache;
        my %of = map { my $figure = $_; $figure => median(map { $_->{$name}{$figure} } @rounds) }
            qw(rate ratio cpu misses);
        say_on("%-16s %12.0f %8.3f %10.2f %6.2f %%  %s\n", $name, @of{qw(rate ratio cpu)},
            100 * $of{misses}, $says);
    }
    say_on("\n");
    return;
}

sub run {
    machine();
    say_on("a local cache of 64 MB with 10,000 sessions of 1 kB, made into records and back: "
        . "operations of $CHILDREN children; medians of $ROUNDS rounds of $SECONDS s, ratios of "
        . "neighbouring runs\n\n");
    Rig::build('mod_caches.c', glob('base/*.c session/*.c'), '-lcrypto', '-lz');
    my %site = map { $_ => site($_) } sort keys %MUTEX;
    for my $work (@WORK) {
        my ($path, $title) = @$work;
        for my $busy (@BUSY) {
            table("$title, $busy threads busy",
                map { one_round($_, \%site, $path, $busy) } 1 .. $ROUNDS);
        }
    }
    $_->close_site for values %site;
    Report::leave('cache');
    return;
}

1;
