# MemSess-Expire: a session that ends when it was unused for this long, and a cookie that lasts as long.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Clock;
use MemSess::Test;

plan tests => 9;

my $secret = private_file('expire.secret', 'y' x 40);

my @pool = map { MemSess::Memcached->start } 1, 2;
my $config = q(
    LuaMapHandler ^/at/\w+/(\w+)$ "${T_ROOT}/lua/$1.lua"
    <LocationMatch /short>
        MemSessIdleTimeout 20s
        MemSessAbsoluteTimeout 30s
    </LocationMatch>
    <LocationMatch /aged>
        MemSessCookie memsess Max-Age=500
    </LocationMatch>
);
my $m = MemSess::Member->start(servers => \@pool, config => $config);
my $cached = MemSess::Member->start(servers => \@pool,
    config => "$config\nMemSessSecret file:$secret\nMemSessLocalCache 1M max-age=60s");

# The age of the cookie that an answer brings: none for a cookie without an age, '' without a
# cookie.
sub age {
    my ($r) = @_;
    my @cookies = $r->header('Set-Cookie') or return '';
    return @cookies > 1 ? 'several' : $cookies[0] =~ /Max-Age=(\d+)/ ? $1 : 'none';
}

sub say_to { my ($c, @lines) = @_; return $c->get(say_via('cgi', @lines)) }

sub at { my ($c, $where) = @_; return $c->get("/at/$where/env")->env('MEMSESS_STATE') }

for my $server ($m, $cached) {
    my $which = $server == $m ? '' : ', with a local cache';

    subtest "remember me$which" => sub {
        my $c = client($server);
        my $r = say_to($c, 'MemSess-Set: user=ann', 'MemSess-Expire: 2592000');
        is age($r), 2592000, 'the cookie lasts as long';
        let_pass(35);
        is at($c, 'short'), 'active', 'above both time-outs';
        is data($c), 'user=ann', 'and whole';
        is age(say_to($c, 'MemSess-Set: a=1')), 2592000, 'a write sends the cookie again';
        is age(say_to($c, 'MemSess-Renew: 1')), 2592000, 'so does a new id';
        is at($c, 'short'), 'active', 'which is as long-lived';
        is age(say_to($c, 'MemSess-Destroy: 1', 'MemSess-Set: b=1')), 'none',
            'a session that begins afterwards is as any other';
    };

    subtest "unused for so long$which" => sub {
        my $c = client($server);
        say_to($c, 'MemSess-Set: a=1', 'MemSess-Expire: 30');
        my $began = now;
        my $ages = '';
        while (now - $began < 60) {
            let_pass(5);
            my $r = $c->get('/lua/env');
            is $r->env('MEMSESS_STATE'), 'active', 'in use' or last;
            $ages .= age($r);
        }
        like $ages, qr/^(?:30)+$/, 're-dated by reading, the cookie too';
        let_pass(32);
        is state($c), 'expired', 'below the idle time-out';
    };
}

subtest 're-dated a tenth of the time' => sub {
    my $c = client($m);
    say_to($c, 'MemSess-Set: a=1', 'MemSess-Expire: 600');
    is join('', map { age($c->get('/lua/env')) } 1 .. 5), '', 'not at once';
    let_pass(61);
    is age($c->get('/lua/env')), 600, 'then';
    is age($c->get('/lua/env')), '', 'once';
};

subtest 'back to the time-outs' => sub {
    my $c = client($m);
    say_to($c, 'MemSess-Set: a=1', 'MemSess-Expire: 1000');
    is age(say_to($c, 'MemSess-Expire: 0')), 'none', 'a cookie until the browser is closed';
    is age(say_to($c, 'MemSess-Set: a=2')), '', 'which is not sent again';
    is at($c, 'short'), 'active', 'still there';
    let_pass(21);
    is at($c->copy, 'short'), 'expired', 'the idle time-out counts';
    is at($c, 'free'), 'active', 'of the section';
    my $r = $c->get(say_via('cgi/aged', 'MemSess-Expire: 1000'));
    is age($r), 1000, 'over an age that is configured';
    is age($c->get(say_via('cgi/aged', 'MemSess-Expire: 0'))), 500, 'and back to that';
};

subtest 'order, repetition, and no session' => sub {
    my $c = started($m, 'a=1');
    is age(say_to($c, 'MemSess-Renew: 1', 'MemSess-Expire: 77', 'MemSess-Destroy: 1',
        'MemSess-Set: b=1')), 77, 'Destroy, Set, Expire, Renew';
    is data($c), 'b=1', 'a new session';
    is age(say_to($c, 'MemSess-Expire: 60', 'MemSess-Expire: 50,40')), 40, 'the last one counts';
    my $none = client($m);
    is $pool[0]->traffic(sub {
        is age(say_to($none, 'MemSess-Expire: 60')), '', 'no session, no cookie';
    }), 0, 'and no store traffic';
};

subtest 'its user is known as long' => sub {
    my $c = started($m, 'user=ann');
    say_to($c, 'MemSess-Expire: 5000000');
    my $epochs = sub { scalar map { grep { $_ > 9_000_000 } lifetimes($_) } @pool };
    is $epochs->(), 2, 'on both servers there is an epoch that lasts twice as long';
    is age(say_to($c, 'MemSess-Destroy: all')), 0, 'and ends it';
};

# How much longer each item of a memcached lives.
sub lifetimes {
    my ($server) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $server->address) or die "memcached: $@";
    print $socket "lru_crawler metadump all\r\n";
    my @left;
    while (defined(my $line = <$socket>) ) {
        last if $line =~ /^END/;
        push @left, $1 - now if $line =~ /exp=(\d+)/;
    }
    return @left;
}

subtest 'bad values' => sub {
    my $c = started($m, 'a=1');
    my $cookie = $c->cookie;
    for my $bad ('', 'x', '-1', '1.5', '10s', '+5', '0x10', '2147483648', '9' x 30, '10,x', '1e3') {
        my $mark = $m->log->mark;
        my $r = say_to($c, 'MemSess-Set: a=2', "MemSess-Expire: $bad");
        is $r->status, 500, "'$bad'";
        is age($r), '', 'no cookie';
        ok $m->log->wait_for(qr/memsess.*MemSess-Expire.*seconds/, $mark), 'the log says why';
    }
    is data($c), 'a=1', 'the session is as it was';
    is $c->cookie, $cookie, 'the cookie, too';
    is age(say_to($c, 'MemSess-Expire: 2147483647')), 2147483647, 'the longest';
    is state($c), 'active', 'and there it is';
};
