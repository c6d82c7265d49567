# MemSessBind tls: without the certificate that a session is bound to, its cookie is of no use.
use strict;
use warnings;
use lib 't/lib';

use Apache::Test qw(-withtestmore);
use MemSess::Faults;
use MemSess::Test;

plan tests => 6;

my $ca = certificate('tls-ca', 'CA');
certificate('tls-server', 'localhost', $ca);
my ($ann, $new, $bert) = map { certificate(@$_, $ca) }
    ['tls-ann', 'ann'], ['tls-new', 'ann'], ['tls-bert', 'bert'];

my @pool = pool(2);
my ($one, $two) = map { MemSess::Member->start(servers => \@pool, config => timing() . q(
    LuaMapHandler ^/at/\\w+/(\\w+)$ "${T_ROOT}/lua/$1.lua"
    <LocationMatch "^/at/tls/">
        MemSessBind tls
    </LocationMatch>
    SSLSessionCache none
    Listen 127.0.0.1:${T_TLS_PORT} https
    <VirtualHost 127.0.0.1:${T_TLS_PORT}>
        SSLEngine On
        SSLCertificateFile "${T_ROOT}/logs/tls-server.pem"
        SSLCACertificateFile "${T_ROOT}/logs/tls-ca.pem.crt"
        SSLVerifyClient optional
    </VirtualHost>
)) } 1, 2;

# What a request to that member sees, with that certificate or none.
sub shown { my ($c, $member, $cert, %how) = @_;
    my $r = $c->copy(server => $member, tls => 1, cert => $cert, %how)->get('/at/tls/env');
    return join ' ', $r->env('MEMSESS_STATE'), $r->env('MEMSESS_DATA') // '-',
        clears_cookie($r) ? 'cleared' : () }

sub change { my ($c, $cert, $where, @headers) = @_;
    $c->{cert} = $cert;
    return $c->get(say_via('lua', @headers) =~ s{^/lua}{/at/$where}r) }

sub begun { my ($cert, $where) = @_;
    my $c = client($one, tls => 1);
    my $r = change($c, $cert, $where // 'tls', 'MemSess-Set: a=1');
    defined $c->cookie or die "no session begins:\n$r->{raw}";
    return $c }

subtest 'on either member' => sub {
    my $c = begun($ann);
    for my $member ($one, $two) {
        is shown($c, $member, $ann), 'active a=1', 'her certificate';
        is shown($c, $member, $bert), 'invalid -', "another's, who keeps the cookie";
        is shown($c, $member, undef), 'invalid -', 'none';
        is shown($c, $member, undef, tls => 0), 'invalid -', 'by plain http';
    }
    is shown($c, $two, $new), 'invalid -', 'a new certificate of the same name';
    is shown($c, $two, $ann), 'active a=1', 'the session is as it was';
};

subtest "a stranger's changes" => sub {
    my $c = begun($ann);
    for my $header ('MemSess-Set: a=2', 'MemSess-Unset: a', 'MemSess-Renew: 1',
                    'MemSess-Destroy: 1') {
        for my $cert ($bert, undef) {
            is change($c->copy, $cert, 'tls', $header)->status, 200, $header;
            is shown($c, $one, $ann), 'active a=1', 'hers is as it was';
        }
    }
};

subtest 'begun without a certificate' => sub {
    my $c = begun(undef);
    is shown($c, $two, undef), 'active a=1', 'shown to one who has none';
    is shown($c, $two, $ann), 'active a=1', 'and to one who has';
    change($c, undef, 'tls', 'MemSess-Set: b=2');
    is shown($c, $two, undef), 'active a=1&b=2', 'not bound by a write without one';
    change($c, $ann, 'tls', 'MemSess-Set: c=3');
    is shown($c, $two, undef), 'invalid -', 'bound by the first who has one';
    is shown($c, $two, $ann), 'active a=1&b=2&c=3', 'to that';
};

subtest 'begun where nothing is bound' => sub {
    my $c = begun($ann, 'free');
    is shown($c, $two, $bert), 'active a=1', 'not bound';
    change($c, $ann, 'tls', 'MemSess-Incr: n=1');
    is shown($c, $two, $bert), 'invalid -', 'from the next write on';
    is shown($c, $two, $ann), 'active a=1&n=1', 'to who wrote';
};

subtest 'a new id' => sub {
    my $c = begun($ann);
    my $old = $c->cookie;
    change($c, $ann, 'tls', 'MemSess-Renew: 1');
    isnt $c->cookie, $old, 'renewed';
    is shown($c, $two, $bert), 'invalid -', 'and bound still';
    is shown($c, $two, $ann), 'active a=1', 'to the same';
};

subtest 'told' => sub {
    like $one->log->text, qr/memsess:notice.*a client other than its own/, 'in the log';
    unlike $_->log->text, qr/BEGIN CERTIFICATE/, 'without any certificate' for $one, $two;
};
