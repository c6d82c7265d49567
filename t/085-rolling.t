# The list of servers is changed on one member after the other: while the old and the new list are
# in use side by side, sessions that move between the members lose nothing.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;

my @pool = pool(4);
my @name = map { $_->address . '?name=s' . $_->port } @pool;

# The servers before and after, by number. With one copy, sessions on a server that is no longer
# asked cannot be kept.
my %changes = (
    added    => [[0, 1, 2], [0, 1, 2, 3]],
    removed  => [[0, 1, 2, 3], [0, 1, 2]],
    replaced => [[0, 1, 2], [0, 1, 3]],
);
plan tests => 2 * keys %changes;

my $SESSIONS = 30;

for my $copies (1, 2) {
    for my $change (sort keys %changes) {
        my ($before, $after) = map { my $list = $_; [map { $name[$_] } @$list] } @{ $changes{$change} };
        subtest "$copies: a server is $change" => sub {
            my $config = timing() . "MemSessRedundancy $copies\n";
            my ($old, $new) = map { MemSess::Member->start(servers => $_, config => $config) }
                $before, $after;
            # With one copy, a member with the new list cannot see sessions of a server that the
            # list lacks.
            my @c = grep { $copies > 1 || state($_->copy(server => $new)) eq 'active' }
                map { started($old, 'n=0') } 1 .. $SESSIONS;
            cmp_ok scalar @c, '>', $SESSIONS / 3, 'sessions that both lists can have';
            my $bad = 0;
            for my $m ($new, $old, $new, $new, $old, $old, $new) {
                $bad += $_->via($m)->get(say_via('lua', 'MemSess-Incr: n=1'))->status != 200 for @c;
            }
            is $bad, 0, 'every change is made';
            for my $m ($old, $new) {
                is_deeply [grep { $_ ne 'n=7' } map { data($_->via($m)) // 'none' } @c], [],
                    'and none is lost';
            }
            $old->configure($config);
            $old->{servers} = $new->{servers};
            $old->configure($config);
            $old->graceful;
            is_deeply [grep { $_ ne 'n=7' } map { data($_->via($old)) // 'none' } @c], [],
                'nor when all have the new list';
            my @out = map { $_->copy } @c;
            $_->via($new)->get(say_via('lua', 'MemSess-Destroy: 1')) for @c;
            is_deeply [grep { $_ ne 'unknown' } map { state($_->via($old)) } @out], [], 'nor revived';
            $_->stop for $old, $new;
        };
    }
}
