# Clocks that are set while httpd runs.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 1;

sub hour_of { (client($_[0])->get('/plain.txt')->header('Date') =~ / (\d\d):/)[0] }

my $memcached = MemSess::Memcached->start;

subtest 'a member has a clock of its own' => sub {
    my $right = MemSess::Member->start(servers => [$memcached]);
    my $m = MemSess::Member->start(servers => [$memcached], clock => '-5h');
    my $off = sub { (hour_of($m) - hour_of($right)) % 24 };
    ok wait_for(5, sub { $off->() == 19 }), '5 hours behind';
    $m->set_clock('+5h');
    ok wait_for(5, sub { $off->() == 5 }), '5 hours ahead';
    $m->graceful;
    ok wait_for(5, sub { $off->() == 5 }), '... and after a graceful restart';
    $m->set_clock(0);
    ok wait_for(5, sub { $off->() == 0 }), 'right';
};
