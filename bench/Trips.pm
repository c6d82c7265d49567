package Trips;

# The commands of each operation, by memcached's own counters, and how many
# answers a request waits for in turn, by its time with slow servers.

use strict;
use warnings;

use Delay;
use Report;
use Rig;
use Sites;

use Time::HiRes qw(time);

my $REQUESTS = 20;
my $DELAY = 0.04;    # seconds; far above what a request takes otherwise

my @OPERATIONS = (
    ['no session, no cookie', '/idle', anonymous => 1],
    ['new session',           '/write', new => 1],
    ['read',                  '/read'],
    ['read, commit exactly',  '/write'],
    ['read, renew the id',    '/renew', fresh => 1],
    ['read, destroy',         '/destroy', fresh => 1],
);

# cmd_get counts keys, and so does each of these: claims are add, and count as set.
my @COUNTED = (
    [get => qw(cmd_get)], [set => qw(cmd_set)], [delete => qw(delete_hits delete_misses)],
    [touch => qw(cmd_touch)],
);

sub counters {
    my (@memcached) = @_;
    my %sum;
    for my $memcached (@memcached) {
        my $stat = Rig::memcached_stats($memcached);
        for my $counted (@COUNTED) {
            my ($name, @of) = @$counted;
            $sum{$name} += $stat->{$_} || 0 for @of;
        }
    }
    return \%sum;
}

# How long its requests take: the median, in seconds. Counters see only these
# requests. A new cookie of the same session is taken, as clients do.
sub repeat {
    my ($site, $path, %option) = @_;
    my $form = Sites::session_form(0);
    my $some = Sites::make_session($site, '/write', $form);
    my @cookies = map { $option{new} || $option{anonymous} ? undef : $option{fresh}
        ? Sites::make_session($site, '/write', $form) : $some } 1 .. $REQUESTS;
    my $before = counters(@{ $site->{memcached} });
    my @took;
    while (@cookies) {
        my $cookie = shift @cookies;
        my $start = time();
        my $answer = $site->get($path . ($option{new} ? "?$form" : ''), $cookie);
        push @took, time() - $start;
        my ($next) = ($answer->{headers}{'set-cookie'} || '') =~ /^([^;]+)/;
        @cookies = ($next) x @cookies if $next && !$option{new} && !$option{fresh};
    }
    my $after = counters(@{ $site->{memcached} });
    return (median(@took),
        { map { $_ => ($after->{$_} - $before->{$_}) / $REQUESTS } keys %$after });
}

# Options: those of a site, of which two are made over the same servers.
sub of_site {
    my ($title, %option) = @_;
    my $quick = Sites::memsess_site('quick', %option);
    my @delays = map { Delay::before($_, $DELAY) } @{ $quick->{memcached} };
    my $slow = Sites::memsess_site('slow', %option,
        memcached => $quick->{memcached}, addresses => [map { $_->{address} } @delays]);

    say_on("%-34s %6s   %s\n", $title, 'waits',
        join ' ', map { sprintf '%7s', $_->[0] } @COUNTED);
    for my $operation (@OPERATIONS) {
        my ($what, $path, %option) = @$operation;
        my ($quick_time, $count) = repeat($quick, $path, %option);
        my ($slow_time) = repeat($slow, $path, %option);
        say_on("%-34s %6.0f   %s\n", $what, abs($slow_time - $quick_time) / $DELAY,
            join ' ', map { sprintf '%7.2f', $count->{ $_->[0] } } @COUNTED);
    }
    say_on("\n");
    Rig::stop($_->{pid}) for @delays;
    Rig::stop($slow->{pid});
    $quick->close_site;
    return;
}

sub run {
    machine();
    say_on("waits: answers of memcached that one request waits for, one after the other; then the "
        . "commands of one request, on all servers together (claims count as set)\n\n");
    my $cache = Sites::secret_conf() . "MemSessLocalCache 1M max-age=60s\n";
    of_site('one copy', copies => 1);
    of_site('two copies', copies => 2);
    of_site('two copies, local cache', copies => 2, conf => $cache);
    Report::leave('trips');
    return;
}

1;
