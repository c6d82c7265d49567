# MemSessRenew: the id changes now and then, and no request that is under way loses the session.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Socket::INET;
use List::Util qw(max);
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Faulty;
use MemSess::Test;
use Time::HiRes qw(sleep);

my %variants = (
    plain            => '',
    'a secret'       => secret(),
    'a local cache'  => secret() . "MemSessLocalCache 1M\n",
    'a lock'         => "MemSessLock request\n",
);
plan tests => 7 * keys(%variants) + 3;

my @pool = pool(2);
my $backend = IO::Socket::INET->new(LocalHost => '127.0.0.1', Listen => 8) or die $@;

sub secret {
    my $file = "$ENV{MEMSESS_T_ROOT}/logs/renew.secret";
    open my $out, '>', $file or die $!;
    chmod 0600, $file;
    print $out 'r' x 40;
    close $out;
    return "MemSessSecret file:$file\n";
}

sub members {
    my ($config) = @_;
    return map { MemSess::Member->start(servers => \@pool,
        config => timing() . $config . <<"END") } 1 .. 2;
<LocationMatch /renew>
    MemSessRenew 60s
</LocationMatch>
<LocationMatch /often>
    MemSessRenew 100ms
</LocationMatch>
ProxyPass /slow/renew http://127.0.0.1:@{[ $backend->sockport ]}/
END
}

# Sessions whose ids will change at the next request, one on each of the members.
sub due {
    my @c = map { started($_, 'n=0') } @_;
    for my $c (@c) {
        my $cookie = $c->cookie;
        is $c->get(say_via('cgi/renew', 'MemSess-Incr: early=1'))->status, 200;
        is id_of($c->cookie), id_of($cookie), 'the id does not change before its time';
    }
    let_pass(61);
    return wantarray ? @c : $c[0];
}

my %m = map { $_ => [members('MemSessNamespace ' . tr/ /-/r . "\n$variants{$_}")] } keys %variants;

# ---- the old id ----

my @variants = sort keys %variants;
my @due;
subtest 'not before its time' => sub { @due = due(map { $m{$_}[0] } @variants) };

for my $variant (@variants) {
    my @m = @{ $m{$variant} };
    my $c = shift @due;
    my $old = $c->copy;
    my ($time, $used, $n);
    subtest "$variant: requests with the old id" => sub {
        my $public = public($c);
        $c->get(say_via('cgi/renew', 'MemSess-Incr: n=1'));
        isnt id_of($c->cookie), id_of($old->cookie), 'renewed';
        ($time, $n) = (now, 1);
        for my $m (@m) {
            my @late = map { $old->copy(server => $m) } 1, 2;
            is data($late[0]), "early=1&n=$n", 'read';
            is $late[1]->get(say_via('cgi/renew', 'MemSess-Incr: n=1'))->status, 200, 'written';
            is id_of($_->cookie), id_of($c->cookie), 'the answer brings the new id again' for @late;
            $n++;
            is data($c->copy(server => $_)), "early=1&n=$n", 'in the session' for @m;
            is public($old->copy(server => $m)), $public, 'the same session';
        }
        $used = now;
    };

    subtest "$variant: a while later" => sub {
        until_after($time, 6);
        is data($old->copy(server => $_)), "early=1&n=$n", 'still there' for @m;
    };

    subtest "$variant: after 10 s" => sub {
        # memcached counts whole seconds, and may be one second behind.
        until_after($used, 12.5);
        for my $m (@m) {
            my $late = $old->copy(server => $m);
            is state($late), 'unknown', 'the old id is dead, though it was used';
            is $late->cookie, $old->cookie, 'and its cookie stays';
            is data($c->copy(server => $m)), "early=1&n=$n", 'the new one is not';
        }
    };
}

# ---- the new id ----

for my $variant (@variants) {
    my @m = @{ $m{$variant} };

    subtest "$variant: a new id for the same session" => sub {
        my @due = due($m[0], $m[1]);
        for my $how ('read', 'written') {
            my $c = shift @due;
            my ($old, $public) = ($c->copy, public($c));
            my $r = $c->get($how eq 'read' ? '/cgi/env/renew' : say_via('cgi/renew',
                'MemSess-Incr: n=1'));
            is $r->status, 200, $how;
            is scalar($r->header('Set-Cookie')) =~ /^memsess=/, 1, 'a new cookie';
            isnt id_of($c->cookie), id_of($old->cookie), 'with another id';
            my $n = $how eq 'read' ? 0 : 1;
            for my $m (@m) {
                $c->via($m);
                is data($c), "early=1&n=$n", 'the same session';
                is public($c), $public, 'the public id stays';
            }
        }
    };

    subtest "$variant: parallel requests with one old id" => sub {
        my $c = due($m[0]);
        my ($old, $public) = ($c->copy, public($c));
        my @clients = map { $old->copy(server => $m[$_ % 2]) } 1 .. 8;
        my @r = together(map { [$_, say_via('cgi/renew', 'MemSess-Incr: n=1')] } @clients);
        is_deeply [map { $_->status } @r], [(200) x 8], 'all are answered';
        my %new = map { id_of($_->cookie) => $_ } grep { id_of($_->cookie) ne id_of($old->cookie) }
            @clients;
        is scalar(keys %new), 1, 'one new id';
        for my $client (@clients) {
            is public($client), $public, 'of one session';
            is attr($client->copy->get('/lua/env'), 'n'), 8, 'with all changes';
        }
    };

    subtest "$variant: renewed again and again" => sub {
        my $c = due($m[0]);
        my ($first, $public) = ($c->copy, public($c));
        my %ids = (id_of($c->cookie) => 1);
        for my $k (1 .. 6) {
            $c->via($m[$k % 2])->get(say_via('cgi/often', 'MemSess-Incr: n=1'));
            $ids{ id_of($c->cookie) } = 1;
            let_pass(0.15);
        }
        is scalar(keys %ids), 7, 'an id each time';
        for my $m (@m) {
            my $late = $first->copy(server => $m);
            is public($late), $public, 'the first id still finds the session';
            is $late->get(say_via('lua', 'MemSess-Incr: n=10'))->status, 200, 'and writes to it';
            is id_of($late->cookie), id_of($c->cookie), 'and learns the newest one';
        }
        is attr($c->copy->get('/lua/env'), 'n'), 26, 'all changes are there';
    };

    subtest "$variant: renewed, and then ended" => sub {
        my @due = due($m[0], $m[1]);
        for my $end (qw(Destroy Renew)) {
            my $c = shift @due;
            my $old = $c->copy;
            $c->get(say_via('cgi/renew', 'MemSess-Incr: n=1'));
            my $new = $c->copy;
            is state($old->copy), 'active', 'both ids find it';
            is $c->get(say_via('lua', "MemSess-$end: 1"))->status, 200, $end;
            for my $m (@m) {
                is state($new->copy(server => $m)), 'unknown', 'its id is dead at once'
                    unless $variant eq 'a local cache';
                is state($old->copy(server => $m)), 'unknown', 'and so is the one before';
            }
        }
    };
}

# A request that waits with the old id and one that comes with the new id belong to one session.
subtest 'a lock holds for both ids' => sub {
    my @m = members("MemSessLock request\nMemSessLockWait 40s\n");
    my $c = due($m[0]);
    my $old = $c->copy(server => $m[1]);
    my $first = background($c, '/slow/renew');
    my $one = $backend->accept;
    my $late = background($old, '/slow/renew');
    sleep 0.5;
    $one->print("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    close $one;
    is $first->wait->status, 200, 'the first one';
    isnt $c->cookie, $old->cookie, 'has another id now';
    my $two = $backend->accept;
    my $third = background($c->copy, say_via('lua', 'MemSess-Incr: n=1'));
    ok !IO::Select->new($third->{socket})->can_read(1.5),
        'who comes with it waits for who waited with the old one';
    $two->print("HTTP/1.1 200 OK\r\nMemSess-Incr: n=10\r\n"
        . "Content-Length: 2\r\nConnection: close\r\n\r\nok");
    close $two;
    is $late->wait->status, 200, 'that one is served';
    my $r = $third->wait;
    is $r->status, 200, 'and then the other';
    cmp_ok $r->{seconds}, '<', 10, 'at once';
    is data($c), 'early=1&n=11';
};

# If writing the session under its new id takes so long that the old id's end comes too late, the
# commit is tried again, or given up: one session exists then, and never a second one that nobody
# knows.
subtest 'a commit that is tried again leaves one session' => sub {
    my $memcached = MemSess::Memcached->start;
    my $faulty    = MemSess::Faulty->start($memcached);
    my $m = MemSess::Member->start(servers => [$faulty], config => <<'END');
MemSessTimeout 5s
<LocationMatch /hasty>
    MemSessLockWait 1s
</LocationMatch>
<LocationMatch /renew>
    MemSessRenew 1ms
</LocationMatch>
END
    my $of = mark();
    # memcached's list of keys is incomplete now and then.
    my $sessions = sub { max map { sleep 0.02; holders($of, $memcached) } 1 .. 5 };
    my %says = (
        'MemSess-Renew'            => ['cgi', 'MemSess-Renew: 1'],
        'MemSess-Destroy with Set' => ['cgi', 'MemSess-Destroy: 1', "MemSess-Set: m=$of"],
        'MemSessRenew'             => ['cgi/renew', 'MemSess-Set: n=1'],
    );
    # Takes longer than a claim is valid.
    my $slowly = sub {
        my ($c, $target) = @_;
        $faulty->mode('slow');
        my $request = background($c, $target);
        ok wait_for(20, sub { $faulty->is_holding }), 'the server takes its time';
        let_pass(2.5);
        $faulty->mode('pass');
        return $request->wait->status;
    };
    for my $what (sort keys %says) {
        my ($where, @headers) = @{ $says{$what} };
        my $c   = started($m, "m=$of");
        my $old = $c->cookie;
        is $slowly->($c, say_via("$where/hasty", @headers)), 503, "$what: no time to try again";
        is data($c), "m=$of", 'the session is as it was';
        is $sessions->(), 1, 'and there is no other';
        is $slowly->($c, say_via($where, @headers)), 200, "$what: tried again";
        isnt $c->cookie, $old, 'it has another id';
        like data($c), qr/^m=$of\b/, 'and is there';
        is $sessions->(), 1, 'and there is no other';
        $c->get(say_via('cgi', 'MemSess-Destroy: 1'));
    }
};
