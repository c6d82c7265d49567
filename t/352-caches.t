# Whatever makes an answer depend on a session (mod_rewrite in the server's configuration, an error,
# a rule), caches are told. And a cache in front never gives a client another's answer.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Site;
use MemSess::Test;

# Set in the server's configuration, where MemSess is On for all.
my $modules = MemSess::Site::query('LIBEXECDIR');
my $config = qq(
    LoadModule filter_module "$modules/mod_filter.so"
    LoadModule autoindex_module "$modules/mod_autoindex.so"
) . q(
    ErrorDocument 404 /error.html
    Alias /error.html "${T_ROOT}/htdocs/plain.txt"
    <Location "/far">
        ErrorDocument 403 http://localhost/elsewhere
    </Location>
    <Location "/text">
        ErrorDocument 403 "no"
    </Location>
    RewriteEngine On
    RewriteCond "%{ENV:MEMSESS_ATTR_user}" "(.+)"
    RewriteRule "^/me$" "/users/%1/" [R=301,L]
    RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
    RewriteRule "^/gone$" "-" [G,L]
    RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
    RewriteRule "^/(?:far|text|plain)-forbidden$" "-" [F,L]
    RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
    RewriteRule "^/rejected$" "-" [R=406,L]
    RewriteRule "^/users/(.*)/$" "/plain.txt" [PT,L]
    RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
    RewriteRule "^/static-off/x$" "/hidden/plain.txt" [PT,L]
    Alias /hidden/ "${T_ROOT}/htdocs/"
    Alias /static-off/ "${T_ROOT}/htdocs/"
    Alias /in-dir/ "${T_ROOT}/htdocs/"
    <Location "/hidden">
        MemSess Off
    </Location>
    <Location "/if">
        <If "reqenv('MEMSESS_ATTR_user') == 'ann'">
            Redirect 302 /if/ann http://localhost/ann
        </If>
    </Location>
    <Location "/required">
        MemSessExpose none
        Require memsess user ann
    </Location>
    <Location "/members">
        MemSessExpose none
        AuthType MemSess
        Require valid-user
    </Location>
    <Location "/expression">
        Require expr "reqenv('MEMSESS_ATTR_user') == 'bob'"
    </Location>
    <Location "/variable">
        SetEnvIfExpr "reqenv('MEMSESS_ATTR_user') == 'ann'" is_ann
        Require env is_ann
    </Location>
    <Location "/max-age">
        Header always set Cache-Control "max-age=3600, s-maxage=60"
        Header always set Expires "Thu, 01 Jan 2099 00:00:00 GMT"
    </Location>
    <Location "/vary">
        Header always set Vary Accept
    </Location>
    <Location "/public">
        Header always set Cache-Control "public, max-age=60"
    </Location>
    <LocationMatch "^/(?:max-age|vary|public)$">
        <If "reqenv('MEMSESS_ATTR_user') == 'ann'">
            Require all denied
        </If>
    </LocationMatch>
    <LocationMatch "^/outer(?:-by-type)?/">
        MemSess Off
    </LocationMatch>
    <Location "/off">
        MemSess Off
    </Location>
    <Location "/listed">
        MemSess Off
        Options +Indexes
        IndexOptions HTMLTable
        ReadmeName /readme/page.shtml
    </Location>
    <LocationMatch "^/targeted">
        Header set CDN-Cache-Control "max-age=600"
        Header always set Acme-CDN-Cache-Control "max-age=600"
        Header set Surrogate-Control "max-age=600"
        Header set X-Accel-Expires 600
    </LocationMatch>
    <Location "/targeted-public">
        Header set Cache-Control public
    </Location>
    AliasMatch ^/targeted[^/]*/(.*) "${T_ROOT}/htdocs/$1"
    Alias /listed/ "${T_DIR}/list/"
    Alias /readme/ "${T_DIR}/list/"
    <Directory "${T_DIR}/list">
        Options +Includes
        Require all granted
    </Directory>
    Alias /outer/ "${T_DIR}/w/"
    Alias /outer-by-type/ "${T_DIR}/w/"
    <Location "/outer-by-type">
        AddType text/html .inc
        AddOutputFilterByType INCLUDES text/html
    </Location>
    <Directory "${T_DIR}/w">
        Options +Includes
        Require all granted
    </Directory>
);

my $memcached = MemSess::Memcached->start;
my $m = MemSess::Member->new(servers => [$memcached], config => $config);
mkdir $m->dir . '/w';
my $page = 'x' x 20000 . qq(\n<!--#include virtual="/cgi/env" -->\n);
mkdir $m->dir . '/list';
for (['w/page.shtml', $page], ['w/page.inc', $page], ['w/plain.txt', "plain\n"],
     ['list/page.shtml', qq(<!--#echo var="MEMSESS_ATTR_user" -->\n)],
     map { ["list/a-long-name-of-a-file-$_", ''] } 1 .. 200) {
    open my $out, '>', $m->dir . "/$_->[0]" or die $!;
    print $out $_->[1];
    close $out;
}
$m->start;
my ($ann, $bob) = map { started($m, "user=$_") } qw(ann bob);

sub varies { return scalar grep { lc eq 'cookie' or $_ eq '*' } split /\s*,\s*/, $_[0]->header('Vary') }
sub is_private { return $_[0]->header('Cache-Control') =~ /\b(?:private|no-store)\b/ ? 1 : 0 }

# What ann gets, and what a client without a session gets.
my @answers = (
    ['/me', 301, 404], ['/gone', 410, 404], ['/plain-forbidden', 403, 404],
    ['/far-forbidden', 403, 404], ['/text-forbidden', 403, 404], ['/rejected', 406, 404],
    ['/no/such/file', 404, 404], ['/plain.txt', 200, 200], ['/in-dir', 404, 404],
    ['/static-off/x', 200, 404], ['/if/ann', 302, 404], ['/required', 404, 403],
    ['/members', 404, 401], ['/expression', 403, 403], ['/variable', 404, 403],
    ['/max-age', 403, 404], ['/vary', 403, 404], ['/cgi/say%2f', 404, undef],
    [say_via('cgi', 'MemSess-Set: a=%zz', 'Cache-Control: max-age=60'), 500, 500],
    [say_via('proxy', 'MemSess-Incr: user=1', 'Cache-Control: max-age=60'), 500, undef],
);
plan tests => 12;

subtest 'every phase' => sub {
    for (@answers) {
        my ($target, $of_ann, $of_nobody) = @$_;
        my $name = $target =~ s/\?.*//r;
        for my $method (qw(GET HEAD)) {
            my $r = $ann->send($method, $target);
            is $r->status, $of_ann, "$method $name: ann" or diag $r->{raw};
            next if $target =~ /%2f/;    # refused before anything can depend on the session
            ok varies($r), "$method $name: it varies" or diag $r->{raw};
            ok is_private($r), "$method $name: and is hers" or diag $r->{raw};
            unlike $r->header('Cache-Control'), qr/s-maxage/, "$method $name: nor a shared cache's";
            unlike $r->header('Expires'), qr/2099/, "$method $name: by no other word either";
            next if !$of_nobody;
            $r = client($m)->send($method, $target);
            is $r->status, $of_nobody, "$method $name: nobody";
            ok varies($r), "$method $name: it varies for nobody too" or diag $r->{raw};
        }
    }
};

subtest 'ErrorDocument in each form' => sub {
    my $r = $ann->get('/far-forbidden');
    my $far = MemSess::Member->start(servers => [$memcached], config => q(
        ErrorDocument 403 http://localhost/elsewhere
        RewriteEngine On
        RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
        RewriteRule "^/no$" "-" [F,L]
        RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
        RewriteRule "^/gone$" "-" [G,L]
        ErrorDocument 410 "gone"
        RewriteCond "%{ENV:MEMSESS_ATTR_user}" "=ann"
        RewriteRule "^/odd$" "-" [R=404,L]
        ErrorDocument 404 /off/plain.txt
        <Location "/off">
            MemSess Off
        </Location>
        Alias /off/ "${T_ROOT}/htdocs/"
        <Directory "${T_ROOT}/htdocs">
            Header always set Cache-Control "max-age=3600"
        </Directory>
    ));
    for (['/no', 302], ['/gone', 410], ['/odd', 404]) {
        $r = $ann->copy(server => $far)->get($_->[0]);
        is $r->status, $_->[1], $_->[0];
        ok varies($r), 'it varies' or diag $r->{raw};
        ok is_private($r), 'and is hers' or diag $r->{raw};
    }
    $far->stop;
};

subtest 'public stands, but for Vary' => sub {
    my $r = $ann->get('/public');
    is $r->status, 403, 'denied';
    ok varies($r), 'it varies';
    is scalar($r->header('Cache-Control')), 'public, max-age=60', 'and is public';
};

subtest 'what depends on no session' => sub {
    my $r = $ann->get('/outer/plain.txt');
    ok !is_private($r), "is everybody's" or diag $r->{raw};
    ok !varies($r), 'and varies not';
};

subtest 'a page that includes what depends on a session' => sub {
    for my $page ('/outer/page.shtml', '/outer-by-type/page.inc') {
        my $r = $ann->get($page);
        is $r->status, 200, "$page, a long page of a section that is Off";
        like $r->body, qr/^MEMSESS_ATTR_user=ann$/m, 'with one that is On' or diag $r->{raw};
        ok varies($r), 'it varies' or diag substr $r->{raw}, 0, 500;
        ok is_private($r), 'and is hers';
        $r = client($m)->get($page);
        ok varies($r), 'it varies for nobody too';
        ok !is_private($r), 'who gets what all others without a session get';
    }
};

subtest 'a long list of a directory, with such a page at its end' => sub {
    my $r = $ann->get('/listed/');
    like $r->body, qr/^ann$/m, 'of a section that is Off' or diag substr $r->{raw}, -500;
    ok varies($r), 'it varies' or diag substr $r->{raw}, 0, 500;
    ok is_private($r), 'and is hers';
    $r = client($m)->get('/listed/');
    ok varies($r), 'it varies for nobody too';
    ok !is_private($r), 'who gets what all others without a session get';
};

subtest 'a handler that asks for a page of a session when its answer has begun' => sub {
    my $perl = 'sub { my $r = shift; $r->content_type(q(text/plain)); $r->print(q(x)); $r->rflush; '
        . '$r->lookup_uri(q(/cgi/env))->run; 0 }';
    my $p = MemSess::Member->start(servers => [$memcached], config => qq(
        LoadModule perl_module "$modules/mod_perl.so"
        PerlModule Apache2::RequestRec Apache2::RequestIO Apache2::SubRequest
        <LocationMatch ^/(?:late|begun)>
            SetHandler modperl
            PerlResponseHandler "$perl"
        </LocationMatch>
        <Location /late>
            MemSess Off
        </Location>));
    my $c = $ann->copy(server => $p);
    my $r = $c->get('/late');
    like $r->body, qr/^xGATEWAY|^GATEWAY_INTERFACE/m, 'it comes';
    unlike $r->body, qr/MEMSESS_(?!T_)|REMOTE_USER|memsess=/, 'but of no session: caches may keep it'
        or diag $r->{raw};
    ok !varies($r) && !is_private($r), 'they were told nothing';
    like $p->log->text, qr/no session is shown to \/cgi\/env, since the answer that it is part of/, 'the log';
    $r = $c->get('/begun');
    like $r->body, qr/^MEMSESS_ATTR_user=ann$/m, 'of hers where they were';
    ok varies($r) && is_private($r), 'and so they were' or diag $r->{raw};
    $p->stop;
};

subtest 'words for some caches alone' => sub {
    my $words = sub { scalar grep { /^(?:(?:acme-)?cdn-cache-control|surrogate-control|x-accel-expires):/i }
        $_[0]->lines };
    is $words->($ann->get('/targeted/plain.txt')), 0, 'they do not say that what is hers may be kept';
    is $words->(client($m)->get('/targeted/plain.txt')), 4, 'what is nobody\'s may be';
    is $words->($ann->get('/targeted-public/plain.txt')), 4, 'or what the handler calls public';
};

subtest 'an nph- program' => sub {
    for (['', 1], ["Cache-Control: max-age=60\r\n", 1], ["Cache-Control: public\r\n", 0]) {
        my ($control, $private) = @$_;
        my $r = $ann->get('/cgi/nph-say?' . escape("HTTP/1.1 200 OK\r\n${control}Connection: close\r\n\r\nx"));
        is $r->status, 200, 'answered';
        ok varies($r), 'it varies' or diag $r->{raw};
        is is_private($r), $private, $private ? 'and is hers' : 'and is everybody\'s, as it says';
    }
};

# A cache that keeps everything that it may of these paths.
sub caching {
    my ($quick, $paths) = @_;
    return qq(
            CacheQuickHandler $quick
            CacheRoot "\${T_DIR}/cache"
            CacheHeader On
            CacheDefaultExpire 3600
            CacheIgnoreNoLastMod On
            CacheEnable disk $paths
    );
}

subtest 'a cache in front' => sub {
    for my $quick (qw(On Off)) {
        my $front = MemSess::Member->start(config => qq(
            MemSess Off
            @{[ caching($quick, '/') ]}
            ProxyPreserveHost On
            ProxyPass / http://127.0.0.1:@{[ $m->port ]}/
        ));
        for my $target ('/me', '/gone', '/plain-forbidden', '/if/ann', '/static-off/x', '/variable',
                        '/expression', '/max-age', '/outer/page.shtml', '/text-forbidden', '/listed/') {
            my %first;
            for my $round (1, 2) {
                for my $who (['ann', $ann], ['bob', $bob], ['nobody', client($m)]) {
                    my ($name, $c) = @$who;
                    my $straight = $c->copy->get($target);
                    my $cached = $c->copy(server => $front)->get($target);
                    is_deeply [map { $cached->$_ } qw(status)], [map { $straight->$_ } qw(status)],
                        "$quick $target: $name gets what is meant for $name" or diag $cached->{raw};
                    is scalar($cached->header('Location')), scalar($straight->header('Location')),
                        "$quick $target: and is sent where $name belongs";
                    is_deeply [grep { /^MEMSESS_(?:ATTR|STATE)/ } split /\n/, $cached->body],
                        [grep { /^MEMSESS_(?:ATTR|STATE)/ } split /\n/, $straight->body],
                        "$quick $target: sees what $name sees";
                    unlike $cached->header('X-Cache'), qr/^HIT/, "$quick $target: not kept"
                        if $name ne 'nobody';
                }
            }
        }
        is client($front)->get('/plain.txt')->header('X-Cache') =~ /^HIT/ ? 1 : 0,
            0, "$quick: a page of those without a session comes";
        like client($front)->get('/plain.txt')->header('X-Cache'), qr/^(?:HIT|REVAL)/,
            'and is kept for them';
        unlike $ann->copy(server => $front)->get('/plain.txt')->header('X-Cache'), qr/^HIT/, 'alone';
        $front->stop;
    }
};

subtest 'a cache in the same server has the page that a redirect leads to' => sub {
    for my $quick (qw(On Off)) {
        my $c = MemSess::Member->start(servers => [$memcached], config => qq(
            @{[ caching($quick, '/off/') ]}
            Alias /off/ "\${T_ROOT}/htdocs/"
            <Location /off>
                MemSess Off
                Header set Cache-Control "max-age=3600"
            </Location>
        ));
        my $who = started($c, 'user=ann');
        for my $client ($who, client($c), client($c)) {
            my $new = !defined $client->cookie;
            my $go = say_via('cgi', 'Location: /off/plain.txt', 'MemSess-Set: seen=1');
            my $r = $client->get($go);
            is $r->body, "plain\n", "$quick: redirected";
            ok varies($r) || is_private($r), "$quick: not everybody's" or diag $r->{raw};
            is is_private($r), 1, "$quick: but hers" or diag $r->{raw};
            ok defined $client->cookie, "$quick: a session begins" or diag $r->{raw} if $new;
            is data($client), $new ? 'seen=1' : 'seen=1&user=ann', "$quick: written";
            is scalar(client($c)->get('/off/plain.txt')->header('Set-Cookie')), '',
                "$quick: nobody else gets the cookie";
        }
        my $r = client($c)->get('/off/plain.txt');
        is scalar($r->header('Vary')), '', 'the page itself is everybody\'s';
        like $r->header('X-Cache'), qr/^HIT/, 'and is kept';
        $c->stop;
    }
};

# Without our help, the cache would keep parts of a page before our filter sees what they depend on.
subtest 'a cache in the same server, and a page that includes another' => sub {
    for my $quick (qw(On Off)) {
        my $c = MemSess::Member->new(servers => [$memcached], config => qq(
            @{[ caching($quick, '/') ]}
            Alias /w/ "\${T_DIR}/w/"
            <Directory "\${T_DIR}/w">
                Options +Includes
                Require all granted
            </Directory>
            <LocationMatch "^/(?:w|lua/env)">
                Header set Cache-Control "max-age=3600"
            </LocationMatch>
        ));
        mkdir $c->dir . '/w';
        my $log_in = say_via('cgi', 'MemSess-Set: by=part', 'Cache-Control: max-age=3600');
        for (['seen', '/lua/env'], ['wrote', $log_in]) {
            open my $out, '>', $c->dir . "/w/$_->[0].shtml" or die $!;
            print $out qq(<!--#include virtual="$_->[1]" -->\n);
            close $out;
        }
        $c->start;
        my %who = map { $_ => started($c, "user=$_") } qw(ann bob);
        for my $name (qw(ann bob ann)) {
            is $who{$name}->get('/w/seen.shtml')->env('MEMSESS_DATA'), "user=$name",
                "$quick: $name sees $name";
        }
        is client($c)->get('/w/seen.shtml')->env('MEMSESS_STATE'), 'none', "$quick: and nobody none";
        $who{ann}->get('/w/wrote.shtml');
        my $r = client($c)->get($log_in);
        unlike $r->header('X-Cache'), qr/^HIT/, "$quick: what it would write is not kept" or diag $r->{raw};
        $c->stop;
    }
};
