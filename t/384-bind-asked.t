# MemSessBind tls, when the section asks for the certificate after the handshake: TLS 1.2 makes
# another handshake for it, TLS 1.3 has an extension.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Status;
use MemSess::Test;

my %versions = ('TLS 1.2' => '-tls1_2', 'TLS 1.3' => '-tls1_3 -enable_pha');
plan tests => 7 * keys %versions;

my $ca = certificate('asked-ca', 'CA');
certificate('asked-server', 'localhost', $ca);
my ($ann, $bert) = map { certificate("asked-$_", $_, $ca) } 'ann', 'bert';

my @pool = (MemSess::Memcached->start);
my $m = MemSess::Member->start(servers => \@pool, config => q(
    LuaMapHandler ^/at/\w+/(\w+)$ "${T_ROOT}/lua/$1.lua"
    <Location /status>
        MemSess Off
        SetHandler memsess-status
    </Location>
    <Directory "${T_ROOT}/cgi-bin">
        MemSessBind tls
    </Directory>
    <Location /at/>
        MemSessBind tls
    </Location>
    <LocationMatch ^/at/(asked|login|require|env|locked)/>
        SSLVerifyClient optional
    </LocationMatch>
    <Location /at/login/>
        AuthType MemSess
        MemSessLoginURL /login
        Require valid-user
    </Location>
    <Location /at/require/>
        AuthType None
        Require memsess user ann
    </Location>
    <Location /at/locked/>
        MemSessLock request
    </Location>
    <Location /at/free/>
        MemSessBind off
    </Location>
    RewriteEngine On
    RewriteOptions InheritDown
    RewriteCond %{ENV:MEMSESS_STATE} ^invalid$
    RewriteRule ^/at/asked/gone$ - [G]
    SSLSessionCache none
    Listen 127.0.0.1:${T_TLS_PORT} https
    <VirtualHost 127.0.0.1:${T_TLS_PORT}>
        SSLEngine On
        SSLCertificateFile "${T_ROOT}/logs/asked-server.pem"
        SSLCACertificateFile "${T_ROOT}/logs/asked-ca.pem.crt"
    </VirtualHost>
));

sub say_at {
    my ($c, $where, @lines) = @_;
    return $c->get(say_via('lua', @lines) =~ s{^/lua}{/at/$where}r);
}

# What a request sees there with that certificate, on a connection of its own.
sub shown {
    my ($c, $where, $cert) = @_;
    my $r = $c->copy(cert => $cert)->get("/at/$where/env");
    return join ' ', $r->status, $r->env('MEMSESS_STATE') // '-', $r->env('MEMSESS_DATA') // '-';
}

sub rejected { return status($m)->{sessions}{rejected} }

for my $version (sort keys %versions) {
    my $begun = sub {
        my $c = client($m, tls => $versions{$version}, cert => $ann);
        my $r = say_at($c, 'asked', 'MemSess-Set: user=ann');
        defined $c->cookie or die "no session begins:\n$r->{raw}";
        return $c;
    };

    subtest "$version: the owner" => sub {
        my $c = $begun->();
        my ($before, $mark) = (rejected(), $m->log->mark);
        for my $where ('asked', 'locked', 'require', 'login') {
            is shown($c, $where, $ann), '200 active user=ann', "$where: at the first request";
        }
        is rejected(), $before, 'nothing is counted as rejected';
        unlike $m->log->text($mark), qr/a client other than its own/, 'nor logged';
    };

    subtest "$version: others" => sub {
        my $c = $begun->();
        my $before = rejected();
        for my $cert ($bert, undef) {
            is shown($c, $_, $cert), '200 invalid -', "$_: not shown" for 'asked', 'locked', 'never';
            like shown($c, 'require', $cert), qr/^403/, 'not let in';
            like shown($c, 'login', $cert), qr/^401/, 'no user';
        }
        is shown($c, 'never', $ann), '200 invalid -', 'nor to her where nobody asks';
        is rejected() - $before, 11, 'each is counted';
        is shown($c, 'asked', $ann), '200 active user=ann', 'the session is as it was';
    };

    subtest "$version: what is written" => sub {
        my $c = $begun->();
        say_at($c, 'asked', 'MemSess-Set: a=1');
        is shown($c, 'asked', $ann), '200 active a=1&user=ann', 'by the owner, at once';
        for my $header ('MemSess-Set: a=2', 'MemSess-Unset: a', 'MemSess-Renew: 1',
                        'MemSess-Destroy: 1') {
            for my $cert ($bert, undef) {
                is say_at($c->copy(cert => $cert), 'asked', $header)->status, 200, $header;
                is shown($c, 'asked', $ann), '200 active a=1&user=ann', 'hers is as it was';
            }
        }
    };

    subtest "$version: written where it is invalid, and asked for by where that leads" => sub {
        my $c = $begun->();
        my $old = $c->cookie;
        for my $header ('MemSess-Set: user=bert', 'MemSess-Destroy: 1', 'MemSess-Renew: 1') {
            my $mark = $m->log->mark;
            my $r = $c->get(say_via('cgi', $header, 'Location: /at/asked/env'));
            is $r->env('MEMSESS_STATE'), 'active', 'shown where the certificate is';
            is $r->env('MEMSESS_DATA'), 'user=ann', 'as it is';
            is $c->cookie, $old, 'under its id';
            is shown($c, 'asked', $ann), '200 active user=ann', "$header: nothing is written";
            ok $m->log->wait_for(qr/warn.*shown as invalid/, $mark), 'the log says why';
        }
    };

    subtest "$version: not judged before the certificate is there" => sub {
        my $c = $begun->();
        isnt $c->get('/at/asked/gone')->status, 410, 'by a rule of the server';
        isnt $c->copy(cert => $bert)->get('/at/asked/gone')->status, 410, 'nor for another';
    };

    subtest "$version: subrequests and error documents" => sub {
        my $c = $begun->();
        my $r = $c->get(say_via('lua', 'Status: 404 None') =~ s{^/lua}{/at/asked}r);
        is $r->status, 404, 'an error';
        is shown($c, 'asked', $ann), '200 active user=ann', 'and the session is as it was';
    };

    subtest "$version: elsewhere" => sub {
        my $c = $begun->();
        is shown($c, 'free', undef), '200 active user=ann', 'where nothing is bound';
        my $plain = $c->copy(tls => 0);
        is shown($plain, 'never', undef), '200 invalid -', 'by plain http';
    };
}
