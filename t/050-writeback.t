# What handlers and back ends may do to the session by the headers of their responses.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Test;

plan tests => 26;

my $m    = server();
my $pool = shared_memcached();
my @handlers = qw(cgi proxy lua);

# Makes a response with these header lines, and checks that none of ours came through.
sub say_to {
    my ($c, $handler, @lines) = @_;
    my $r = $c->get(say_via($handler, @lines));
    is_deeply [$r->leaks], [], "nothing leaks (@lines[0 .. ($#lines > 1 ? 1 : $#lines)])";
    return $r;
}

for my $handler (@handlers) {
    subtest "$handler: each header" => sub {
        my $c = client($m);
        is say_to($c, $handler, 'MemSess-Set: a=1&b=two%20words&c=3')->body, "said\n",
            'the body is as said';
        is data($c), 'a=1&b=two%20words&c=3', 'Set';
        say_to($c, $handler, 'MemSess-Unset: b&absent');
        is data($c), 'a=1&c=3', 'Unset';
        say_to($c, $handler, 'MemSess-Incr: a=4&c=-5&new=7');
        is data($c), 'a=5&c=-2&new=7', 'Incr';

        my ($old, $id) = ($c->copy, $c->get('/cgi/env')->env('MEMSESS_ID'));
        say_to($c, $handler, 'MemSess-Renew: 1');
        isnt $c->cookie, $old->cookie, 'Renew: a new cookie';
        my $r = $c->get('/cgi/env');
        is $r->env('MEMSESS_DATA'), 'a=5&c=-2&new=7', 'for the same data';
        is $r->env('MEMSESS_ID'), $id, 'and the same public id';
        isnt state($old->copy), 'active', 'the old one is dead at once';
        is data($old->copy) // '', '', 'without data';

        $old = $c->copy;
        $r = say_to($c, $handler, 'MemSess-Destroy: 1');
        ok clears_cookie($r), 'Destroy: clears the cookie';
        is $c->cookie, undef, 'which the browser then has no more';
        isnt state($old->copy), 'active', 'the session is over for all who have the cookie';
        is data($old->copy) // '', '', 'and its data gone';
    };

    subtest "$handler: whatever the status of the response" => sub {
        for my $status (200, 204, 302, 304, 404, 500) {
            my @lines = ("Status: $status Whatever", 'MemSess-Incr: seen=1', 'X-Said: yes');
            push @lines, 'Location: http://localhost/elsewhere' if $status == 302;
            push @lines, "\n" if $status =~ /04$/;
            my $c = client($m);
            my $r = say_to($c, $handler, @lines);
            is $r->status, $status, "$status arrives";
            ok defined $c->cookie, "$status: sets the cookie" or diag $r->{raw};
            is data($c), 'seen=1', "$status: starts a session";
            say_to($c, $handler, @lines);
            is data($c), 'seen=2', "$status: changes it";
        }
    };
}

subtest 'HEAD and POST' => sub {
    my $c = client($m);
    my $r = $c->send('HEAD', say_via('cgi', 'MemSess-Set: by=head'));
    is data($c), 'by=head', 'HEAD';
    $r = $c->post(say_via('proxy', 'MemSess-Set: by=post'), 'x' x 100000);
    is $r->status, 200, 'POST with a body';
    is data($c), 'by=post', 'POST';
};

subtest 'repeated and joined headers' => sub {
    for my $handler (qw(cgi proxy)) {
        my $c = client($m);
        say_to($c, $handler, 'MemSess-Set: a=1', 'memsess-set: b=2', 'MEMSESS-SET: a=3');
        is data($c), 'a=3&b=2', "$handler: all are obeyed, in order, in any case";
    }
    my $c = client($m);
    say_to($c, 'cgi', 'MemSess-Set: a=1,b=2, c=x%2Cy');
    is_deeply [split /&/, data($c)], ['a=1', 'b=2', 'c=x%2Cy'],
        'a comma separates, an encoded one does not';
    say_to($c, 'cgi', 'MemSess-Unset: a, b', 'MemSess-Incr: n=1,n=2');
    is data($c), 'c=x%2Cy&n=3', 'in Unset and Incr as well';
    my $r = say_to($c, 'cgi', 'MemSess-Renew: 1', 'Set-Cookie: other=1; Path=/');
    is_deeply [map { /^(\w+)=/ } sort $r->header('Set-Cookie')], ['memsess', 'other'],
        "a handler's own cookies go with ours";
    say_to($c, 'cgi', 'MemSess-Set: &d=1&&e=2&');
    is data($c), 'c=x%2Cy&d=1&e=2&n=3', 'empty pieces are nothing';
};

subtest 'values' => sub {
    my $c = client($m);
    say_to($c, 'cgi',
        'MemSess-Set: plus=a+b&empty=&equals=a=b&crlf=a%0D%0Ab&utf8=%C3%A9&percent=%2525');
    my %got = map { split /=/, $_, 2 } split /&/, data($c);
    like $got{plus}, qr/^a(?:%20|\+)b$/, 'plus is a space';
    is $got{empty}, '', 'empty';
    is $got{equals}, 'a%3Db', 'an equals sign in the value';
    like $got{crlf}, qr/^a%0D%0Ab$/i, 'line ends, which come out encoded';
    like $got{utf8}, qr/^%C3%A9$/i, 'bytes';
    is $got{percent}, '%2525', 'decoded once';
    my $name = 'N_a.m-e' . 'x' x 57;
    say_to($c, 'cgi', "MemSess-Set: $name=1");
    like data($c), qr/(?:^|&)\Q$name\E=1(?:&|$)/, 'a name of 64 characters';
};

subtest 'order within one response: Destroy, Unset, Set, Incr, Renew' => sub {
    my $c = started($m, 'a=1&b=1');
    my ($cookie, $id) = ($c->cookie, $c->get('/cgi/env')->env('MEMSESS_ID'));
    say_to($c, 'cgi', 'MemSess-Renew: 1', 'MemSess-Incr: a=1', 'MemSess-Set: a=5',
        'MemSess-Unset: a&b');
    is data($c), 'a=6', 'Unset, Set, Incr';
    isnt $c->cookie, $cookie, 'Renew';
    is $c->get('/cgi/env')->env('MEMSESS_ID'), $id, 'of the same session';

    my $old = $c->copy;
    my $r = say_to($c, 'cgi', 'MemSess-Set: new=1', 'MemSess-Destroy: 1');
    is data($c), 'new=1', 'Destroy with Set begins another session';
    isnt $c->get('/cgi/env')->env('MEMSESS_ID'), $id, 'another session';
    is scalar(my @cookies = $r->header('Set-Cookie')), 1, 'with one Set-Cookie';
    isnt state($old), 'active', 'the old one is over';
};

subtest 'without a session' => sub {
    for my $line ('MemSess-Unset: a', 'MemSess-Renew: 1', 'MemSess-Destroy: 1') {
        my $c = client($m);
        is $pool->traffic(sub { is say_to($c, 'cgi', $line)->status, 200, $line }), 0,
            'no store traffic';
        is $c->cookie, undef, 'no session begins';
    }
    my $c = client($m)->set_cookie('A' x 24);
    say_to($c, 'cgi', 'MemSess-Set: a=1');
    isnt $c->cookie, 'A' x 24, 'an unknown id is not adopted by a write';
    is data($c), 'a=1', 'a new one has the data';
    is state(client($m)->set_cookie('A' x 24)), 'unknown', 'the unknown one is still unknown';
    $c = client($m)->set_cookie('A' x 24);
    my $r = say_to($c, 'cgi', 'MemSess-Renew: 1');
    ok leaves_cookie($r), 'nor by Renew';
    ok leaves_cookie(say_to($c, 'cgi', 'MemSess-Destroy: 1')), 'and Destroy has nothing to end';
};

subtest 'increments are of 64 bits' => sub {
    my $c = client($m);
    say_to($c, 'cgi', 'MemSess-Incr: max=9223372036854775807&min=-9223372036854775808');
    is data($c), 'max=9223372036854775807&min=-9223372036854775808', 'the ends';
    for my $line ('max=1', 'min=-1', 'max=9223372036854775807') {
        is say_to($c, 'cgi', "MemSess-Incr: $line")->status, 500, "overflow: $line";
    }
    is data($c), 'max=9223372036854775807&min=-9223372036854775808', 'which changed nothing';
    say_to($c, 'cgi', 'MemSess-Incr: max=-9223372036854775807&min=9223372036854775807');
    is data($c), 'max=0&min=-1', 'and back';
};

my @malformed = (
    map({ ['MemSess-Set', $_] } 'a=%zz', 'a=%4', 'a=1%', '=1', 'a', 'a=1&b', 'a%20b=1', 'a b=1',
        'a/b=1', "\xc3\xa9=1", 'a=%00', 'a=x%00y', 'a%00=1', '%61%0A=1', 'x' x 65 . '=1', 'a=1&=2',
        '%=1', 'a=%C3%A'),
    map({ ['MemSess-Unset', $_] } '%zz', 'a%20b', 'x' x 65, 'a%00', 'a=1'),
    map({ ['MemSess-Incr', $_] } 'a=x', 'a=', 'a=1.5', 'a', 'a=9223372036854775808',
        'a=-9223372036854775809', 'a=1x', 'a=0x10', 'a=99999999999999999999999', 'a=%zz', 'a%20b=1',
        'text=1', 'a=--1', 'a=%00'),
    map({ ['MemSess-Renew', $_] } '0', 'yes', '2', '1x'),
    map({ ['MemSess-Destroy', $_] } '0', 'yes', '2', 'everything'),
);

subtest 'malformed headers make the response a 500 and change nothing' => sub {
    my $c = started($m, 'a=1&text=words');
    for my $bad (@malformed) {
        my ($name, $value) = @$bad;
        my $shown = "$name: $value" =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger;
        my $mark = $m->log->mark;
        my $cookie = $c->cookie;
        # A good header beside the bad one shows that either both are obeyed or none.
        my $r = say_to($c, 'cgi', 'MemSess-Set: good=1', "$name: $value");
        is $r->status, 500, $shown;
        unlike $r->body, qr/^said$/m, "$shown: the handler's body does not go out";
        is scalar($r->header('Set-Cookie')), '', "$shown: the cookie stays";
        is data($c), 'a=1&text=words', "$shown: so does the session";
        ok $m->log->wait_for(qr/memsess.*\Q$name\E/, $mark), "$shown: the log names the header";
    }
    is $c->get('/cgi/env')->env('MEMSESS_STATE'), 'active', 'after all that';
};

subtest 'malformed headers from back ends and scripts' => sub {
    my $c = started($m, 'a=1');
    for my $handler (qw(proxy lua)) {
        for my $status (200, 204, 302, 304) {
            my @lines = ("Status: $status Whatever", 'MemSess-Set: a=%zz',
                $status == 302 ? 'Location: /x' : ());
            is say_to($c, $handler, @lines, $status =~ /04$/ ? "\n" : ())->status, 500,
                "$handler: instead of $status";
        }
    }
    is data($c), 'a=1', 'nothing changed';
    my $new = client($m);
    is $pool->traffic(sub { say_to($new, 'proxy', 'MemSess-Set: a=%zz') }), 0,
        'no traffic for a client without a session';
    is $new->cookie, undef, 'and no cookie';
};

subtest 'names that mean nothing are dropped with a warning' => sub {
    my $c = started($m, 'a=1');
    for my $handler (@handlers) {
        my $mark = $m->log->mark;
        my $r = say_to($c, $handler, 'MemSess-Nonsense: a=2', 'X-Said: yes');
        is_deeply [$r->status, $r->header('X-Said')], [200, 'yes'], "$handler: the rest arrives";
        ok $m->log->wait_for(qr/warn.*MemSess-Nonsense/, $mark), "$handler: a warning";
    }
    is data($c), 'a=1', 'nothing changed';
};

subtest 'interim responses leak nothing either' => sub {
    my $c = client($m);
    my $r = $c->get('/proxy/raw?' . escape(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nMemSess-Set: early=1\r\n\r\n"
        . "HTTP/1.1 200 OK\r\nMemSess-Set: a=1\r\nContent-Length: 3\r\nConnection: close\r\n"
        . "\r\nok\n"));
    is $r->status, 200, 'the response';
    is_deeply [$r->leaks], [], 'nothing leaks';
    is data($c), 'a=1', 'the final response counts';
};

subtest 'nor do programs whose names begin with nph-' => sub {
    my $off = MemSess::Member->start(config => 'MemSess Off');
    my $body = "MemSess-Set: not=a header\n" . 'x' x 5000;
    for my $server ($m, $off) {
        my $mark = $server->log->mark;
        for my $end ("\n", "\r\n") {
            my $target = '/cgi/nph-say?' . escape(join $end, 'HTTP/1.1 200 OK', 'MemSess-Set: a=1',
                'X-Said: yes', 'MemSess-Foo: folded', ' b=1', 'Connection: close', '', $body);
            my $all = raw($server->port, "GET $target HTTP/1.1\r\nHost: localhost\r\n\r\n")->{raw};
            $all =~ s/^Vary: Cookie\r\n//m if $server == $m;
            is $all, join($end, 'HTTP/1.1 200 OK', 'X-Said: yes', 'Connection: close', '', $body),
                'all but our headers arrives';
        }
        ok $server->log->wait_for(qr/warn.*MemSess-Set/, $mark), 'a warning';
        my $cut = raw($server->port, 'GET /cgi/nph-say?' . escape("HTTP/1.1 200 OK\nMemSess-Set: a=1\n")
            . " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")->{raw};
        is $cut =~ s/^Vary: Cookie\r\n//mr, "HTTP/1.1 200 OK\n", 'also where the head has no end';
    }
    $off->stop;
};

# Sends this many equal requests on one connection; returns how many answers came, the last ones
# complete.
sub on_one_connection {
    my ($server, $n, $target) = @_;
    my $get = "GET $target HTTP/1.1\r\nHost: localhost\r\n";
    return raw($server->port, "$get\r\n" x ($n - 1) . "${get}Connection: close\r\n\r\n")->{raw};
}

my $binary = "\0\n\r\n\r\nMemSess-Set: not=a header\n\0" . "\xff\0" x 3000;

subtest 'interim responses leave what follows alone' => sub {
    my $off = MemSess::Member->start(config => 'MemSess Off');
    for my $server (server(), $off) {
        for my $early ('', "HTTP/1.1 103 Early Hints\r\nMemSess-Set: a=1\r\nLink: </x>\r\n\r\n") {
            my $target = '/proxy/raw?' . escape($early . "HTTP/1.1 200 OK\r\nContent-Length: "
                . length($binary) . "\r\nConnection: close\r\n\r\n$binary");
            my $all = on_one_connection($server, 3, $target);
            is scalar(() = $all =~ /\Q$binary\E/g), 3, 'three whole bodies on one connection';
            is scalar(() = $all =~ /103 Early/g), $early ? 3 : 0, 'and the interim responses';
            unlike $all =~ s/\Q$binary\E//gr, qr/memsess/i, 'nothing leaks';
        }
    }
    $off->stop;
};

subtest 'a tunnel passes every byte' => sub {
    my $m = MemSess::Member->start(servers => [shared_memcached()], config => q(
        ProxyPass /http/ "http://localhost:${T_BACKEND}/" upgrade=websocket
        ProxyPass /ws/ "ws://127.0.0.1:${T_BACKEND}/"));
    for my $kind (qw(http ws)) {
        my $r = raw($m->port, "GET /$kind/raw?" . escape(
            "HTTP/1.1 101 Switching Protocols\r\nMemSess-Set: a=1\r\n"
            . "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n$binary")
            . " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
        my ($head, $rest) = split /\r\n\r\n/, $r->{raw}, 2;
        like $head, qr{^HTTP/1.1 101 }, "$kind: switched";
        unlike $head, qr/memsess/i, "$kind: nothing leaks";
        ok $rest eq $binary, "$kind: all bytes";
    }
    $m->stop;
};

my $memcached = MemSess::Memcached->start;
my $own = MemSess::Member->start(servers => [$memcached], config => q(
    <LocationMatch /obey_not>
        MemSessWriteback Off
    </LocationMatch>
    <LocationMatch /off>
        MemSess Off
    </LocationMatch>
    <LocationMatch /keys>
        MemSessWritebackKeys a user.*
    </LocationMatch>
    <LocationMatch /small>
        MemSessMaxSize 2000
    </LocationMatch>
    <LocationMatch ^/decorated>
        Header set MemSess-Set decorated=1
        Header always set MemSess-Always x
        Header always set MemSess-Set decorated=2
    </LocationMatch>
    Alias /decorated "${T_ROOT}/htdocs"
    <LocationMatch /error_document>
        ErrorDocument 404 \\
        "/cgi/say?MemSess%2DSet%3A%20by=document%0AContent%2DType%3A%20text%2Fplain%0A%0Adocument"
    </LocationMatch>
    ProxyPass /overridden/ "http://127.0.0.1:${T_BACKEND}/"
    <Location /overridden/>
        ProxyErrorOverride On
        ErrorDocument 403 /cgi/env
    </Location>
));

subtest 'where write-back is not allowed, headers are dropped nevertheless' => sub {
    my $c = started($own, 'a=1');
    for my $where (qw(obey_not off)) {
        for my $handler (qw(cgi proxy)) {
            for my $status (200, 204, 304, 404) {
                my $r = $c->get(say_via("$handler/$where", "Status: $status Whatever",
                                   'MemSess-Set: a=2', 'MemSess-Destroy: 1', 'memsess-other: 1',
                                   'MemSess-Set: %zz', $status =~ /04$/ ? "\n" : ()));
                is_deeply [$r->leaks], [], "$where, $handler: nothing leaks with $status";
                is $r->status, $status, "$where, $handler: and nothing else happens";
            }
        }
        my $new = client($own);
        is $memcached->traffic(sub { $new->get(say_via("cgi/$where", 'MemSess-Set: a=2')) }), 0,
            "$where: no store traffic";
        is $new->cookie, undef, "$where: no session";
    }
    is data($c), 'a=1', 'the session is as it was';
};

subtest "headers that the configuration adds leak no more than a handler's" => sub {
    for my $target (qw(/decorated/plain.txt /decorated/none)) {
        is_deeply [client($own)->get($target)->leaks], [], $target;
    }
};

subtest 'MemSessWritebackKeys' => sub {
    my $c = started($own, 'a=1&b=1&user.name=x');
    my $mark = $own->log->mark;
    is $c->get(say_via('cgi/keys', 'MemSess-Set: a=2&b=2&user.name=y&users=1',
        'MemSess-Incr: c=1'))->status, 200, 'a response';
    is data($c), 'a=2&b=1&user.name=y', 'what is not allowed is left alone';
    for my $name (qw(b users c)) {
        like $own->log->text($mark), qr/memsess:warn[^\n]*\b$name\b/, "a warning names $name";
    }
    $c->get(say_via('cgi/keys', 'MemSess-Unset: a&b'));
    is data($c), 'b=1&user.name=y', 'nor removed';
    my $new = client($own);
    $new->get(say_via('cgi/keys', 'MemSess-Set: b=1'));
    is $new->cookie, undef, 'and nothing allowed starts no session';
};

subtest 'MemSessMaxSize' => sub {
    my $c = started($own, 'a=1');
    my $mark = $own->log->mark;
    my $r = $c->get(say_via('cgi/small', 'MemSess-Set: a=' . 'x' x 2100));
    is $r->status, 500, 'too large is refused';
    like $own->log->text($mark), qr/MemSessMaxSize/, 'the log names the directive';
    is data($c), 'a=1', 'the stored session stays';
    is $c->get(say_via('cgi/small', 'MemSess-Set: a=' . 'x' x 1000))->status, 200,
        'a smaller one is not';
};

subtest 'large sessions' => sub {
    my $c = client($own);
    my $value = join '', map { chr(65 + rand 26) } 1 .. 50000;
    set_via($c, "v$_=$value", 'lua') for 1 .. 8;
    my $r = $c->get('/lua/env');
    ok $r->env('MEMSESS_DATA') eq join('&', map { "v$_=$value" } 1 .. 8), '400 kB are kept'
        or diag substr $r->body, 0, 200;
};

subtest 'ErrorDocuments' => sub {
    my $c = client($own);
    my $r = $c->get('/error_document');
    is_deeply [$r->status, $r->body], [404, 'document'], 'the document';
    is_deeply [$r->leaks], [], 'nothing leaks';
    is data($c), 'by=document', 'it may write';

    $c = client($own);
    $r = $c->get('/overridden/say?'
        . escape("Status: 403 Forbidden\nMemSess-Incr: refused=1\nContent-Type: text/plain\n\nno"));
    is $r->status, 403, 'ProxyErrorOverride';
    is $r->env('REDIRECT_STATUS'), 403, 'shows our document';
    is_deeply [$r->leaks], [], 'nothing leaks';
    is data($c), 'refused=1', 'what the back end wrote counts';
};

subtest 'a subrequest may not write' => sub {
    my $c = started($own, 'a=1');
    my $mark = $own->log->mark;
    my $r = $c->get('/writer.shtml');
    is_deeply [$r->status, $r->leaks], [200], 'nothing leaks';
    like $r->body, qr/included/, 'the page';
    is data($c), 'a=1', 'nothing changed';
    ok $own->log->wait_for(qr/memsess:warn/, $mark), 'a warning';
};
