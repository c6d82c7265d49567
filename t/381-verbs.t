# MemSessWritebackVerbs: which of a response's headers are obeyed, and for which attributes.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 7;

my $m = MemSess::Member->start(servers => [MemSess::Memcached->start], config => q(
    LuaMapHandler ^/lua/(\w+)/ "${T_ROOT}/lua/$1.lua"
    <LocationMatch /keys>
        MemSessWritebackKeys cart* n
    </LocationMatch>
    <LocationMatch /star>
        MemSessWritebackKeys *
    </LocationMatch>
    <LocationMatch /named>
        MemSessWritebackVerbs Set DESTROY
        MemSessWritebackVerbs renew
    </LocationMatch>
    <LocationMatch /named/keys>
        MemSessWritebackKeys cart* n
    </LocationMatch>
    <LocationMatch /named/narrow>
        MemSessWritebackVerbs expire
    </LocationMatch>
    <LocationMatch /admin>
        MemSessWritebackVerbs admin
    </LocationMatch>
));
my @handlers = qw(cgi proxy lua);
my %header = (
    set     => 'MemSess-Set: cart=new',
    unset   => 'MemSess-Unset: cart',
    incr    => 'MemSess-Incr: n=1',
    renew   => 'MemSess-Renew: 1',
    destroy => 'MemSess-Destroy: 1',
    expire  => 'MemSess-Expire: 1000',
);

# Whether a header was obeyed.
sub done {
    my ($verb, $c, $old, $r) = @_;
    my $data = data($c) // '';
    return $verb eq 'set' ? $data eq 'cart=new&n=5' : $verb eq 'unset' ? $data eq 'n=5'
        : $verb eq 'incr' ? $data eq 'cart=1&n=6' : $verb eq 'renew' ? ($c->cookie // '') ne $old
        : $verb eq 'destroy' ? !defined $c->cookie
        : $r->header('Set-Cookie') =~ /Max-Age=1000/;
}

# Which of all verbs a response may use under that path; the log must name the others.
sub allowed {
    my ($handler, $where) = @_;
    my @may;
    for my $verb (sort keys %header) {
        my $c = started($m, 'cart=1&n=5');
        my ($old, $mark) = ($c->cookie, $m->log->mark);
        my $r = $c->get(say_via("$handler$where", $header{$verb}));
        is $r->status, 200, "$handler$where, $verb: answers";
        is_deeply [$r->leaks], [], 'and leaks nothing';
        if (done($verb, $c, $old, $r)) { push @may, $verb; next }
        ok $m->log->wait_for(qr/warn.*MemSess-\u$verb.*MemSessWritebackVerbs/, $mark),
            "$handler$where, $verb: a warning" ;
        is data($c), 'cart=1&n=5', 'the data are as they were';
        is $c->cookie, $old, 'so is the cookie';
    }
    return join ' ', @may;
}

my $all = 'destroy expire incr renew set unset';
for my $handler (@handlers) {
    subtest "$handler: which verbs" => sub {
        is allowed($handler, ''), $all, 'all where nothing is named';
        is allowed($handler, '/star'), $all, 'and where all attributes are';
        is allowed($handler, '/keys'), 'incr set unset', 'three where some attributes are';
        is allowed($handler, '/named'), 'destroy renew set', 'those that are named';
        is allowed($handler, '/named/keys'), 'destroy renew set', 'inherited, whatever the keys';
        is allowed($handler, '/named/narrow'), 'expire', 'overridden as a whole';
        is allowed($handler, '/admin'), '', 'admin is none of these';
    };
}

subtest 'a banned user cannot be freed' => sub {
    my $c = started($m, 'banned=1&user=ann&cart=1');
    my $other = started($m, 'user=ann');
    for my $handler (@handlers) {
        for my $lines (['MemSess-Destroy: 1', 'MemSess-Set: cart=2'], ['MemSess-Destroy: all'],
                       ['MemSess-Destroy: nonsense'], ['MemSess-Expire: nonsense'],
                       ['MemSess-Renew: 1', 'MemSess-Expire: 1']) {
            is $c->get(say_via("$handler/keys", @$lines))->status, 200, "$handler: @$lines";
            like data($c), qr/^banned=1&cart=[12]&user=ann$/, 'the session goes on';
            is data($other), 'user=ann', 'the other one too';
        }
    }
};

subtest 'what is allowed beside it is done' => sub {
    my $c = started($m, 'a=1&cart=1');
    my $old = $c->cookie;
    my $r = $c->get(say_via('cgi/keys', 'MemSess-Destroy: 1', 'MemSess-Set: cart=2&a=2',
        'MemSess-Renew: 1', 'MemSess-Incr: n=1'));
    is $r->status, 200, 'the answer';
    is data($c), 'a=1&cart=2&n=1', 'upon the session as it is';
    is $c->cookie, $old, 'under its id';
};

subtest 'without a session' => sub {
    my $c = client($m);
    $c->get(say_via('cgi/admin', 'MemSess-Set: a=1'));
    is $c->cookie, undef, 'none begins by a verb that is not allowed';
    $c->get(say_via('cgi/keys', 'MemSess-Destroy: 1', 'MemSess-Set: cart=1'));
    is data($c), 'cart=1', 'one begins by one that is';
};

subtest 'malformed, and allowed' => sub {
    my $c = started($m, 'n=1');
    is $c->get(say_via('cgi/named', 'MemSess-Destroy: nonsense'))->status, 500, 'a 500 as ever';
    is data($c), 'n=1', 'and nothing else';
};
