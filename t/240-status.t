# SetHandler memsess-status: what the figures say about what happened, in whichever child it
# happened.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use JSON::PP;
use MemSess::Clock;
use MemSess::Faults;
use MemSess::Status;
use MemSess::Test;

plan tests => 15;

my $config = timing() . q(
    <Location "/status">
        SetHandler memsess-status
    </Location>
);
my @pool = pool(2);
my $m = MemSess::Member->start(servers => \@pool, config => $config);

# How much figures of sessions (or of "group.figure") rose while the code ran.
sub grown {
    my ($code, @names) = @_;
    my $before = status($m);
    $code->();
    my $after = status($m);
    return map {
        my ($group, $name) = /(\w+)\.(\w+)/ ? ($1, $2) : ('sessions', $_);
        $after->{$group}{$name} - $before->{$group}{$name}
    } @names;
}

sub grow { my ($code, %by) = @_; my @names = sort keys %by;
    is_deeply {zip(\@names, [grown($code, @names)])}, \%by, join ' ', map { "$_+$by{$_}" } @names }
sub zip { my ($a, $b) = @_; return map { $a->[$_] => $b->[$_] } 0 .. $#$a }

subtest 'the shape of the JSON' => sub {
    my $r = client($m)->get('/status?format=json');
    is $r->status, 200;
    is scalar($r->header('Content-Type')), 'application/json';
    is scalar($r->header('Cache-Control')), 'no-store';
    my $s = decode_json($r->body);
    is $s->{module}, 'mod_memsess';
    like $s->{version}, qr/^\d+\.\d+\.\d+$/;
    like $s->{uptime_s}, qr/^\d+$/;
    is_deeply [map { $_->{name} } @{ $s->{servers} }], [map { $_->address } @pool], 'all servers';
    for my $server (@{ $s->{servers} }) {
        is $server->{state}, 'up';
        is $server->{weight}, 1;
        like $server->{since}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
        is_deeply [map { ref } @$server{qw(operations errors timeouts)}], ['', '', ''];
        is_deeply [sort keys %{ $server->{latency_us} }], [qw(p50 p99)];
        like $server->{asked}, qr/^(?:in turn|at once)$/;
    }
    is_deeply [sort keys %{ $s->{sessions} }],
        [qw(committed created destroyed expired loaded merged missed rejected unavailable)];
    is_deeply [sort keys %{ $s->{copies} }], [qw(repaired under_replicated)];
    is_deeply [sort keys %{ $s->{locks} }], [qw(timeouts waits)];
    is_deeply $s->{local_cache}, { hits => 0, misses => 0 };
};

subtest 'rates, history and the estimate' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => $config);
    started($m)->get('/lua/env') for 1 .. 3;
    my $s = status($m);
    my $rates = $s->{rates};
    cmp_ok $rates->{seconds}, '>', 0, 'of the last minute, or since the start';
    for my $group (qw(sessions copies locks local_cache)) {
        is_deeply [sort keys %{ $rates->{$group} }], [sort keys %{ $s->{$group} }], "$group: rates";
        is_deeply [sort keys %{ $s->{history}{$group} }], [sort keys %{ $s->{$group} }],
            'and a history';
    }
    # Within the first minute, rates cover everything that was counted.
    my $n = sub { sprintf '%.1f', $rates->{sessions}{$_[0]} * $rates->{seconds} };
    cmp_ok abs($n->($_) - $s->{sessions}{$_}), '<=', 0.1 + $rates->{seconds} * 0.001, "rate: $_"
        for qw(created loaded committed);
    cmp_ok $rates->{operations}, '>', 0, 'operations';
    is $rates->{errors}, 0, 'errors';
    my @series = map { ref eq 'HASH' ? values %$_ : $_ } values %{ $s->{history} };
    is_deeply [grep { ref ne 'ARRAY' || @$_ != @{ $s->{history}{at} } } @series], [],
        'each with a value for each minute';
    ok wait_for(30, sub {
        my $alive = status($m)->{alive_estimate};
        $alive->{servers} == 2 && $alive->{items} && !$alive->{silent_servers}
            && abs($alive->{sessions} - $alive->{items} / 2) <= 0.5;
    }), 'sessions alive: items by copies';
    my $page = client($m)->get('/status')->body;
    like $page, qr/sessions alive<br>.*>about \d/, 'on the page';
    like $page, qr/an estimate: the items of 2 servers, \d+, divided by the number of copies/, 'which says of what';
    like client($m)->get('/status?format=prometheus')->body,
        qr/^memsess_sessions_alive_estimate \d+$/m, 'to Prometheus';
    my ($sent, $seen) = @{ (servers_of($m))[0] }{qw(get_hits get_misses)};
    like "$sent $seen", qr/^\d+ \d+$/, 'what servers tell of reads';
    $m->stop;
};

sub servers_of { return @{ status($_[0])->{servers} } }

subtest 'requests' => sub {
    my $c = started($m);
    for my $target ('/status', '/status?format=json', '/status?format=prometheus') {
        for my $method (qw(GET HEAD)) {
            my $r = $c->send($method, $target);
            is $r->status, 200, "$method $target";
            is scalar($r->header('Cache-Control')), 'no-store', 'not kept';
            is scalar($r->header('Set-Cookie')), '', 'no cookie';
            is length($r->body) > 0, $method eq 'GET', 'body';
        }
    }
    for my $method (qw(POST PUT DELETE)) {
        my $r = $c->send($method, '/status');
        is $r->status, 405, $method;
        like scalar($r->header('Allow')), qr/\bGET\b/, 'Allow';
    }
    my $r = $c->get('/status?format=xm%22l');
    is $r->status, 400, 'an unknown format';
    like $r->body, qr/html.*json.*prometheus/, 'and those there are';
    is $c->get('/status?x=1&format=json&y')->status, 200, 'other parameters do not matter';
    my $traffic = 0;
    is_deeply [grown(sub {
        $traffic = sum(map { my $server = $_; $server->traffic(sub { $c->get('/status') }) } @pool);
        $c->copy->set_cookie('nonsense')->get('/status');
    }, qw(loaded rejected))], [0, 0], 'no session of its own';
    is $traffic, 0, 'no store traffic';
};

subtest 'the page' => sub {
    my $r = client($m)->get('/status');
    my $page = $r->body;
    my $json = status($m);
    like scalar($r->header('Content-Type')), qr{^text/html; charset=utf-8};
    my ($nonce) = scalar($r->header('Content-Security-Policy'))
        =~ /^default-src 'none'; style-src 'nonce-([A-Za-z0-9+\/]{24})';/;
    ok $nonce, 'a strict policy';
    is_deeply [$page =~ /<style([^>]*)>/g], [qq( nonce="$nonce")], 'that lets its own style pass';
    isnt $nonce, (client($m)->get('/status')->body =~ /nonce="([^"]*)/)[0], 'this time alone';
    unlike $page, qr/<script|<link|<img|\bsrc=|\bhref=|url\(|style=|\@import/i,
        'needs nothing else';
    like $page, qr/<meta http-equiv="refresh" content="\d+">/, 'refreshes itself';
    like $page, qr/<meta name="viewport" content="width=device-width/, 'on a phone too';
    like $page, qr/All 2 servers are up; sessions have 2 copies/, 'the verdict';
    is $json->{verdict}{text}, ($page =~ /<p class="verdict \w+">([^<]*)/)[0], 'as in JSON';
    is $json->{verdict}{is}, 'warned', 'there is no secret';
    like $page, qr/<h2>\Q@{[ $_->address ]}\E <span class="good">up/, $_->address for @pool;
    like $page, qr/<svg /, 'a chart';
    my %title = (local_cache => 'Local cache');
    for my $group (grep { ref $json->{$_} eq 'HASH' } qw(sessions copies locks local_cache)) {
        my $title = $title{$group} // ucfirst $group;
        my ($part) = $page =~ m{<section><h3>$title</h3>(.*?)</section>}s or fail "$title: none";
        is_deeply [sort map { s/-/_/r } $part =~ /<th scope="row">([\w-]+)<br>/g],
            [sort keys %{ $json->{$group} }], "$title: the counters that JSON has";
    }
    my @open;
    for ($page =~ m{<(/?[a-z][a-z0-9]*)\b[^>]*?(?<!/)>}g) {
        next if /^(?:meta|br)$/;
        m{^/(.*)} ? is(pop @open, $1, "</$1>") : push @open, $_;
    }
    is "@open", '', 'every element is closed';
};

subtest 'Prometheus' => sub {
    started($m)->get('/lua/env') for 1 .. 5;
    my $s = status($m);
    my $r = client($m)->get('/status?format=prometheus');
    is scalar($r->header('Content-Type')), 'text/plain; version=0.0.4; charset=utf-8';
    my @families = metrics($r->body);
    my %value;
    for (@families) {
        my ($name, $type, $help, $samples) = @$_;
        like $type, qr/^(?:counter|gauge|histogram)$/, "$name: type";
        like $help, qr/\w/, "$name: help";
        cmp_ok scalar(@$samples), '>', 0, "$name: samples";
        like $_->[0], $type eq 'counter' ? qr/^memsess_\w+_total$/ : qr/^memsess_\w+$/, 'name'
            for @$samples;
        $value{ join ' ', $_->[0], grep { defined } @{ $_->[1] }{qw(server le)} } = $_->[2]
            for @$samples;
    }
    for my $group (qw(sessions copies locks local_cache)) {
        is $value{"memsess_${group}_${_}_total"}, "$s->{$group}{$_}.0", "$group $_"
            for sort keys %{ $s->{$group} };
    }
    for my $server (@{ $s->{servers} }) {
        my $of = sub { $value{"memsess_server_$_[0] $server->{name}"} };
        is $of->('up'), '1.0', 'up';
        is $of->("${_}_total"), "$server->{$_}.0", $_ for qw(operations errors timeouts);
        my @buckets = map { $value{$_} }
            sort { ($a =~ /([\d.]+|\+Inf)$/)[0] <=> ($b =~ /([\d.]+|\+Inf)$/)[0] }
            grep { /^memsess_server_latency_seconds_bucket \Q$server->{name}\E / } keys %value;
        cmp_ok scalar(@buckets), '>', 15, 'buckets';
        is_deeply \@buckets, [sort { $a <=> $b } @buckets], 'that only grow';
        is $buckets[-1], $of->('latency_seconds_count'), 'up to all of them';
        is $buckets[-1], $of->('operations_total'), 'which are the operations';
        cmp_ok $of->('latency_seconds_sum'), '>', 0, 'and took some time';
    }
};

subtest 'what happens to sessions' => sub {
    my $c = client($m);
    my %none = map { $_ => 0 } qw(created loaded missed committed merged destroyed expired rejected
        unavailable);
    grow(sub { $c->copy->get('/lua/env') }, %none);
    grow(sub { set_via($c, 'a=1') }, %none, created => 1, committed => 1);
    grow(sub { $c->get('/lua/env') for 1 .. 5 }, %none, loaded => 5);
    grow(sub { set_via($c, 'a=2') }, %none, loaded => 1, committed => 1);
    grow(sub { $c->get(say_via('cgi', 'MemSess-Renew: 1')) }, %none, loaded => 1, committed => 1);
    my $old = $c->copy;
    grow(sub { $c->get(say_via('cgi', 'MemSess-Destroy: 1')) }, %none, loaded => 1, destroyed => 1);
    grow(sub { $old->get('/lua/env') }, %none, missed => 1, rejected => 1);
    grow(sub { client($m)->set_cookie('A' x 24)->get('/lua/env') }, %none, missed => 1,
        rejected => 1);
    grow(sub { client($m)->set_cookie('short')->get('/lua/env') }, %none, rejected => 1);
    $c = started($m);
    grow(sub { $c->get(say_via('cgi', 'MemSess-Destroy: 1', 'MemSess-Set: a=1')) },
         %none, loaded => 1, destroyed => 1, created => 1, committed => 1);
    grow(sub { $c->get('/session.shtml') }, %none, loaded => 1);
};

subtest 'expired' => sub {
    my $m = MemSess::Member->start(servers => \@pool, config => "$config MemSessIdleTimeout 1s");
    my $c = started($m);
    let_pass(1.3);
    is state($c->copy), 'expired';
    is status($m)->{sessions}{expired}, 1;
    $m->stop;
};

subtest 'parallel requests' => sub {
    my $c = started($m, 'n=0');
    my ($merged, $committed, $waits) = grown(sub {
        together(map { [$c->copy, say_via('cgi', 'MemSess-Incr: n=1')] } 1 .. 12) for 1 .. 3;
    }, qw(merged committed locks.waits));
    is $committed, 36;
    cmp_ok $merged, '>', 0, 'merged';
    cmp_ok $merged, '<=', 36;
    cmp_ok $waits, '>', 0, 'waits';
    is data($c), 'n=36';
};

subtest 'a lock that lasts too long' => sub {
    my $m = MemSess::Member->start(servers => \@pool,
                                   config => "$config MemSessLock request\nMemSessLockWait 200ms");
    my $c = started($m);
    my $end = late($c, 'cgi');
    my $timeouts = sub { status($m)->{locks}{timeouts} };
    ok wait_for(20, sub { $c->copy->get('/lua/env')->status == 503 }), 'in vain';
    is $timeouts->(), 1, 'counted';
    cmp_ok status($m)->{locks}{waits}, '>=', 1, 'waits';
    $end->();
    $m->stop;
};

subtest 'servers' => sub {
    my ($c, $mark, @homes) = marked($m, @pool);
    my @before = @{ status($m)->{servers} };
    $c->get('/lua/env') for 1 .. 10;
    my @after = @{ status($m)->{servers} };
    for (0, 1) {
        cmp_ok $after[$_]{operations} - $before[$_]{operations}, '>=', 10, 'operations';
        is $after[$_]{errors}, $before[$_]{errors}, 'no error';
        cmp_ok $after[$_]{latency_us}{p50}, '>', 0, 'p50';
        cmp_ok $after[$_]{latency_us}{p99}, '>=', $after[$_]{latency_us}{p50}, 'p99';
        is $after[$_]{last_error}, undef, 'no last error';
    }
    $pool[0]->kill9;
    my $verdict = sub { my $v = status($m)->{verdict}; "$v->{is}: $v->{text}" };
    my ($loaded, $unavailable, $less) = grown(sub {
        $c->get('/lua/env') for 1 .. 3;
        set_via($c, "m=$mark&n=2");
    }, qw(loaded unavailable copies.under_replicated));
    is $loaded, 4, 'one of two serves';
    is $unavailable, 0, 'so it is available';
    cmp_ok $less, '>=', 1, 'a write with too few copies';
    my $sick = status($m)->{servers}[0];
    is $sick->{state}, 'down', 'the sick one';
    cmp_ok $sick->{errors}, '>', 0, 'errors';
    like $sick->{last_error}{text}, qr/refused|closed|end of file|abort|reset/i, 'why';
    cmp_ok $sick->{since}, 'ge', $before[0]{since}, 'since when';
    is status($m)->{servers}[1]{state}, 'up', 'the other one';
    like $verdict->(), qr/^bad: 1 of 2 servers is down: \Q@{[ $pool[0]->address ]}\E for \d+ s; sessions are served from their other copies; .*fewer servers/,
        'the verdict';
    like client($m)->get('/status?format=prometheus')->body, qr/^memsess_ok 0$/m, 'to Prometheus';
    is status($m)->{alive_estimate}{silent_servers}, 1, 'which the estimate lacks';
    my ($repaired) = grown(sub {
        $pool[0]->restart;
        ok wait_for(20, sub { status($m)->{servers}[0]{state} eq 'up' }), 'up again';
        back_again(sub { 1 });
        ok repaired($c, $mark, 2, @pool), 'a copy is written again';
    }, 'copies.repaired');
    cmp_ok $repaired, '>=', 1, 'repaired';

    $pool[1]->pause;
    my ($timeouts) = map { $_->{timeouts} } status($m)->{servers}[1];
    $c->get('/lua/env');
    cmp_ok status($m)->{servers}[1]{timeouts}, '>', $timeouts, 'a time-out';
    $pool[1]->resume;
    ok wait_for(20, sub { status($m)->{servers}[1]{state} eq 'up' }), 'up again';
};

subtest 'no server left' => sub {
    my $one = MemSess::Memcached->start;
    my $m = MemSess::Member->start(servers => [$one], config => $config);
    my $c = started($m);
    status($m);
    $one->kill9;
    let_pass(10);    # servers are asked for their figures this seldom
    ok wait_for(30, sub { status($m)->{servers}[0]{state} eq 'down' }),
        'seen by whoever looks, without any session';
    is status($m)->{sessions}{unavailable}, 0;
    $c->get('/lua/env') for 1 .. 3;
    is status($m)->{sessions}{unavailable}, 3, 'unavailable';
    like status($m)->{verdict}{text}, qr/^1 of 1 server is down: .*; no session is available; 3 requests had no answer from the store within the last minute\.$/,
        'the verdict';
    client($m)->get(say_via('cgi', 'MemSess-Set: a=1'));
    is status($m)->{sessions}{unavailable}, 4, 'for a new one too';
    $m->graceful;
    is status($m)->{servers}[0]{state}, 'down', 'still known by new children';
    $one->restart;
    ok wait_for(30, sub { status($m)->{servers}[0]{state} eq 'up' }), 'and they see it come back';
    $m->stop;
};

subtest 'graceful restarts' => sub {
    my $d = MemSess::Memcached->start;
    my $before = status($m);
    cmp_ok $before->{sessions}{created}, '>', 0;
    my $c = started($m);
    $m->{servers} = [$pool[1], $d, $pool[0]];
    $_ = $_->address for @{ $m->{servers} };
    $m->configure($config);
    $m->graceful;
    my $after = status($m);
    is $after->{sessions}{created}, $before->{sessions}{created} + 1, 'the counters go on';
    cmp_ok $after->{uptime_s}, '>=', $before->{uptime_s};
    my %at = map { $_->{name} => $_ } @{ $after->{servers} };
    is scalar(keys %at), 3, 'with the server that is new';
    is $at{ $d->address }{operations}, 0;
    cmp_ok $at{ $pool[0]->address }{operations}, '>=', $before->{servers}[0]{operations},
        'by name, not by place';
    cmp_ok $at{ $pool[1]->address }{operations}, '>=', $before->{servers}[1]{operations}, 'both';
    started($m) for 1 .. 8;
    cmp_ok((grep { $_->{name} eq $d->address } @{ status($m)->{servers} })[0]{operations}, '>', 0,
        'and counts');
};

subtest 'virtual hosts' => sub {
    my ($a, $b) = map { $_->address } @pool;
    my $m = MemSess::Member->start(config => qq(
        $config
        <VirtualHost *>
            ServerName one
            MemSessServers $a?weight=3 $b
        </VirtualHost>
        <VirtualHost *>
            ServerName two
            MemSessServers $b 127.0.0.1:1?name=odd
        </VirtualHost>));
    is_deeply [sort map { "$_->{name} $_->{weight}" } @{ status($m)->{servers} }],
        [sort "$a 3", "$b 1", 'odd 1'],
            'the servers of all, each once; no default that nobody uses';
    $m->stop;
};

subtest 'a server that came back' => sub {
    my @two = pool(2);
    my $m = MemSess::Member->start(servers => \@two, config => $config);
    my $c = started($m);
    my $text = sub { status($m)->{verdict}{text} };
    like $text->(), qr/sessions have 2 copies;/, 'two copies';
    select undef, undef, undef, 5.5;
    $two[0]->kill9;
    $c->get('/lua/env') for 1 .. 2;
    $two[0]->restart;
    ok wait_for(20, sub { status($m)->{servers}[0]{state} eq 'up' }), 'up again';
    like $text->(), qr/sessions have 2 copies, but one fewer if they were not used since \Q@{[ $two[0]->address ]}\E came back \d+ s ago/,
        'it lacks copies'
        or diag $text->();
    $m->stop;
};

subtest 'the configuration in force' => sub {
    my ($a, $b) = map { $_->address } @pool;
    my $m = MemSess::Member->start(config => qq(
        $config
        MemSessServers $a?weight=3 $b
        MemSessConnections 7 idle=90s
        MemSessIdleTimeout 2h
        <Location "/app">
            MemSessWritebackVerbs set unset
            MemSessBind ua
            MemSessLoginURL /in?back=%s&x=y
        </Location>
        <VirtualHost *>
            ServerName one.example
            MemSessServers $b?name=odd
            MemSessNamespace <shop>
            MemSessCookie __Host-a Secure=on Max-Age=60
            MemSessExposeKeys user cart.*
            MemSessLock none
            <LocationMatch "^/x/.*">
                MemSessOnError anonymous
            </LocationMatch>
        </VirtualHost>
        <VirtualHost *>
            ServerName two.example
        </VirtualHost>));
    my @hosts = @{ status($m)->{hosts} };
    my ($first, $one, $two) = @hosts;
    is_deeply [map { $_->{name} } @hosts], [undef, 'one.example', 'two.example'], 'each host';
    is_deeply [map { "@{ $_->{servers} }" } @hosts], ["$a $b", 'odd', "$a $b"], 'pools';
    is_deeply [map { $_->{copies} } @hosts], [2, 1, 2], 'copies';
    is_deeply [map { $_->{namespace} } @hosts], ['', '<shop>', ''], 'namespaces';
    is_deeply [map { $_->{signed} || $_->{sealed} ? 1 : 0 } @hosts], [0, 0, 0], 'no secret';
    my %set = %{ $first->{settings} };
    is $set{MemSessServers}, "$a?weight=3 $b", 'a value as directives have it';
    is $set{'MemSessConnections'}, '7', 'a number';
    is $set{'MemSessConnections idle='}, '90s', 'and the second word';
    is $set{MemSessIdleTimeout}, '2h', 'a time';
    is $set{MemSessRedundancy}, undef, 'what is not set';
    is_deeply $first->{sections}, [{ section => '/app', settings => { MemSessBind => 'ua',
        MemSessWritebackVerbs => 'unset set', MemSessLoginURL => '/in?back=%s&x=y' } }], 'a section';
    %set = %{ $one->{settings} };
    is $set{MemSessServers}, "$b?name=odd", "a host's own";
    is $set{MemSessIdleTimeout}, '2h', 'and what it inherits';
    is $set{MemSessCookie}, '__Host-a Path=/ SameSite=Lax Secure=on HttpOnly=on Max-Age=60', 'cookie';
    is "$set{MemSessExposeKeys} $set{MemSessLock}", 'user cart.* none', 'words';
    is_deeply $one->{sections}, [{ section => '~ ^/x/.*', settings => {
        MemSessOnError => 'anonymous' } }], 'sections of its own';
    is_deeply $two->{settings}, $first->{settings}, 'a host without settings of its own';
    my $page = client($m)->get('/status')->body;
    like $page, qr{<section><h3>one\.example</h3>.*On odd<.*<td>&lt;shop&gt;</td>}s, 'the page';
    like $page, qr{<h3>Same as the server itself</h3>\n<p>two\.example</p>}, 'names what is alike';
    unlike $page, qr/<shop>/, 'escaped';
    $m->stop;
};
