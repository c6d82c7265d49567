# A child process cannot have its threads, or other things that it needs at its beginning: it does
# what it can, logs what it cannot do, and recovers when the cause is gone.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;
use Time::HiRes qw(time);

plan tests => 4;

my $new = sub { my ($m) = @_; map { [client($m), say_via('lua', 'MemSess-Set: a=1')] } 1 .. 12 };
sub statuses { map { $_->status } together($new->($_[0])) }
sub all_are { my ($m, $status) = @_; return wait_for(40, sub { !grep { $_ != $status } statuses($m) }) }

subtest 'no thread at all: a server that was lost is found again nevertheless' => sub {
    my $server = MemSess::Memcached->start;
    my $m = MemSess::Member->start(servers => [$server], config => timing(), lacks => 'threads');
    is_deeply [statuses($m)], [(200) x 12], 'sessions begin';
    my $c = started($m, 'a=1');
    is state($c), 'active', 'they are found' for 1 .. 3;
    my $log = $m->log->text;
    like $log, qr/no thread that tries servers that are down.*requests try them/, 'the log says what is lacking';
    like $log, qr/no thread that cuts off answers/, '... all of it';
    unlike $log, qr/every session is unavailable/, '... and nothing that is not so';

    $server->kill9;
    ok all_are($m, 503), 'the server is lost';
    $server->restart;
    my $back = time;
    ok all_are($m, 200), 'it is found again';
    cmp_ok time - $back, '<', 30, '... in a moment';

    my $mark = $m->log->mark;
    $m->lacks('');
    ok wait_for(20, sub { statuses($m); $m->log->text($mark) =~ /now has its thread that tries servers/ }),
        'the threads are there when the system gives them';
    $server->kill9;
    ok all_are($m, 503), 'lost once more';
    $server->restart;
    ok all_are($m, 200), 'and found';
};

subtest 'no thread, two servers: one is hung' => sub {
    my @servers = pool(2);
    my $m = MemSess::Member->start(servers => \@servers, lacks => 'threads',
        config => timing() . "MemSessRedundancy 2\n");
    my $c = started($m, 'a=1');
    $servers[0]->pause;
    ok all_are($m, 200), 'sessions begin on the other';
    is state($c), 'active', 'a session of before is there' for 1 .. 3;
    $servers[0]->resume;
    in_use($m, @servers);
    $m->lacks('');
    ok all_are($m, 200), 'and so with threads';
};

subtest 'a lock is kept up by a thread that comes late' => sub {
    my $m = MemSess::Member->start(servers => [pool(1)], lacks => 'threads',
        config => timing() . "MemSessLock request\n");
    my $c = started($m, 'n=0');
    is $_->status, 200, 'side by side, one after the other' for together(
        map { [$c, say_via('cgi', 'MemSess-Incr: n=1')] } 1 .. 6);
    is data($c), 'n=6', 'nothing is lost';
    like $m->log->text, qr/no thread that keeps locks alive; until it does, locks/, 'the log says what it means';
    my $mark = $m->log->mark;
    $m->lacks('');
    ok wait_for(20, sub { $c->get(say_via('cgi', 'MemSess-Incr: n=1'));
        $m->log->text($mark) =~ /now has its thread that keeps locks alive/ }), 'there is one later';
};

subtest 'no store at all, for want of descriptors' => sub {
    my $m = MemSess::Member->start(servers => [pool(1)], config => timing(), lacks => 'pipes');
    is_deeply [statuses($m)], [(503) x 12], 'no session begins';
    like $m->log->text, qr/no store, so every session is unavailable/, 'the log says why';
    is client($m)->get('/plain.txt')->status, 200, 'who has no session is served';
    my $mark = $m->log->mark;
    $m->lacks('');
    ok all_are($m, 200), 'all is well when the system gives them again';
    like $m->log->text($mark), qr/now has its store/, 'the log says so';
    my $c = started($m, 'a=1');
    is state($c), 'active', 'sessions are found' for 1 .. 5;
};
