# Reading only reads. A record that lacks copies is repaired by the commit that a request makes
# anyway, or else when its client has the answer, whatever kind of request it was.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use IO::Socket::INET;
use MemSess::Faults;
use MemSess::Site;
use MemSess::Test;
use MemSess::WebSocket;
use MemSess::Wire;
use Time::HiRes qw(sleep time);

plan tests => 5;

my $backend = MemSess::WebSocket->backend;
my $port    = $backend->port;
my @pool    = pool(2);
my $wire    = MemSess::Wire->start($pool[1]);
my $far     = MemSess::Member->start(servers => \@pool, config => 'MemSess Off');
my $config  = <<"END";
MemSessTimeout 3s
MemSessRetry 100ms
LoadModule apitest_module "\${T_ROOT}/modules/.build/mod_apitest.so"
ProxyPass /ws/ "ws://127.0.0.1:$port/"
ProxyPass /far/ "http://127.0.0.1:@{[ $far->port ]}/"
ErrorDocument 404 /lua/env
<Location /api>
    MemSessExpose none
    MemSessWriteback Off
    SetHandler apitest
</Location>
<Location /private>
    AuthType MemSess
    Require valid-user
</Location>
<Location /sections.shtml>
    MemSess Off
</Location>
RewriteEngine On
RewriteCond %{ENV:MEMSESS_STATE} =active
RewriteRule ^/denied - [F]
RewriteRule ^/moved /lua/env [PT]
END
my $m = MemSess::Member->start(servers => [$pool[0], $wire], config => $config);

# A session whose copy on the second server is lost, and its key there. Its writer has sent
# everything by then.
sub lacking {
    my ($c, $mark, @homes) = marked($m, @pool);
    my ($key) = map { $_->[0] == $pool[1] ? $_->[1] : () } @homes;
    sleep 3.3;
    $pool[1]->delete($key);
    return ($c, $mark, $key);
}

# The copy appears without another reading.
sub is_there {
    my ($mark, $what) = @_;
    ok wait_for(20, sub { sum(holders($mark, $pool[1])) == 1 }), $what;
}

# What the second server was asked since its journal had this length.
sub asked {
    my ($from) = @_;
    my @journal = $wire->journal;
    return map { s/^\d+ //r } @journal[$from .. $#journal];
}

# The whole answer, on a connection that stays open.
sub answer {
    my ($c, $target) = @_;
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $c->{server}->port) or die $@;
    my $answer = '';
    $s->print(join "\r\n", "GET $target HTTP/1.1", 'Host: localhost',
        'Cookie: memsess=' . $c->cookie, '', '');
    while ($answer !~ /\r\n0\r\n\r\n\z/
        and !($answer =~ /Content-Length: (\d+)\r\n.*?\r\n\r\n(.*)/s and length $2 == $1)) {
        $s->sysread($answer, 65536, length $answer) or last;
    }
    return ($answer, $s);
}

my @kinds = (
    ['a page',                sub { $_[0]->get('/lua/env') }, 200],
    ['HEAD',                  sub { $_[0]->send('HEAD', '/lua/env') }, 200],
    ['304',                   sub { $_[0]->get('/plain.txt', 'If-Modified-Since: '
                                  . client($m)->get('/plain.txt')->header('Date')) }, 304],
    ['another page within',   sub { $_[0]->get('/moved') }, 200],
    ['an error document',     sub { $_[0]->get('/nowhere') }, 404],
    ['mod_rewrite denies',    sub { $_[0]->get('/denied') }, 403],
    ['nobody is logged in',   sub { $_[0]->get('/private') }, 401],
    ['a subrequest alone',    sub { $_[0]->get('/sections.shtml') }, 200],
    ['the C API alone',       sub { $_[0]->get('/api?state') }, 200],
    ['a nph- program',        sub { $_[0]->get('/cgi/nph-say?HTTP/1.1%20200%20OK%0a%0aok') }, 200],
);

subtest 'all kinds of requests' => sub {
    my @lacking = map { my ($c, $mark, @homes) = marked($m, @pool); [$c, $mark, @homes] } 0 .. @kinds;
    sleep 3.3;
    for (@lacking) { $_->[0]->delete($_->[1]) for grep { $_->[0] == $pool[1] } @$_[2, 3] }
    for (@kinds) {
        my ($what, $request, $status) = @$_;
        my ($c, $mark) = @{ shift @lacking };
        is sum(holders($mark, $pool[1])), 0, "$what: a copy is lost";
        is $request->($c)->status, $status, "is answered by $status";
        is_there($mark, 'and it is there again');
    }
    my ($c, $mark) = @{ shift @lacking };
    my $ws = MemSess::WebSocket->open($m, '/ws/echo', 'Cookie: memsess=' . $c->cookie);
    is $ws->say('hello'), 'hello', 'an open socket';
    is_there($mark, 'it is there again while that is open');
    $ws->close;
};

subtest 'the client does not wait for it' => sub {
    my ($c, $mark) = lacking();
    $wire->mode('slow=1.5/set');
    my ($answer, $s);
    my $took = seconds(sub { ($answer, $s) = answer($c, '/lua/env') });
    like $answer, qr/$mark/, 'the whole answer';
    cmp_ok $took, '<', 1.5, 'is there';
    is sum(holders($mark, $pool[1])), 0, 'before the copy is';
    $wire->mode('pass');
    is_there($mark, 'that comes');
};

subtest 'an answer that goes on does not keep it waiting' => sub {
    my ($c, $mark) = lacking();
    my $s = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $m->port) or die $@;
    $s->print(join "\r\n", 'GET /far/cgi/linger?Content-Type:%20text/plain%0a%0aslow HTTP/1.1',
        'Host: localhost', 'Cookie: memsess=' . $c->cookie, '', '');
    is_there($mark, 'it is there while the answer goes on');
    $s->blocking(0);
    1 while $s->sysread(my $more, 65536);
    sleep 0.5;
    ok $s->sysread(my $more, 65536), 'which it does';
};

subtest 'over a local cache' => sub {
    my @own    = pool(2);
    my $secret = private_file('repairs', 'x' x 64);
    my $two    = MemSess::Member->start(servers => \@own, config => timing()
        . "MemSessSecret file:$secret\nMemSessLocalCache 1M\n");
    my $c    = started($two, 'n=1');
    my $keys = sub { grep { /\A[\w-]{51}\z/ } keys %{ items($own[1]) } };
    my ($key) = $keys->();
    sleep 3.3;
    $own[1]->delete($key);
    is data($c->copy), 'n=1', 'read from the servers';
    ok wait_for(20, sub { ($keys->())[0] }), 'and repaired';
};

subtest 'a change and a repair are one commit' => sub {
    my ($c, $mark, $key) = lacking();
    my $from = $wire->journal;
    like +(answer($c, say_via('lua', 'MemSess-Set: n=2')))[0], qr/said/, 'a change';
    is_there($mark, 'the copy is there again');
    my @asked = asked($from);
    note join ' | ', map { s/\Q$key\E/KEY/r } @asked;
    # A replace that finds nothing is followed by a set.
    is scalar(grep { /^replace \Q$key\E / } @asked), 1, 'written once';
    is scalar(grep { /^add \Q$key\E\.\d+ / } @asked), 2, 'its revision is claimed, and the one before';
    is data($c), "m=$mark&n=2", 'as it was changed';
};
