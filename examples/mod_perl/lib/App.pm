package App;
# A page that counts, POST /app/login with user=NAME, and POST /app/logout.
use strict;
use warnings;

use Apache2::Const -compile => qw(OK HTTP_SEE_OTHER HTTP_UNPROCESSABLE_ENTITY);
use Apache2::RequestIO ();
use Apache2::RequestRec ();
use APR::Table ();

sub handler {
    my ($r) = @_;
    my $what = $r->method . ' ' . $r->uri;
    my $env = $r->subprocess_env;

    if ($what eq 'POST /app/login') {
        my $length = $r->headers_in->get('Content-Length');
        my $body = '';
        $r->read($body, $length) if $length;
        my ($user) = $body =~ /(?:^|&)user=([\w.~*%+-]+)(?:&|\z)/
            or return Apache2::Const::HTTP_UNPROCESSABLE_ENTITY;
        return see_other($r, 'MemSess-Set' => "user=$user", 'MemSess-Renew' => 1);
    }
    return see_other($r, 'MemSess-Destroy' => 1) if $what eq 'POST /app/logout';

    $r->content_type('text/plain; charset=utf-8');
    $r->headers_out->add('MemSess-Incr' => 'hits=1');
    $r->print('earlier visits: ', $env->get('MEMSESS_ATTR_hits') // 0, "\n",
              'user: ', $env->get('MEMSESS_ATTR_user') // 'nobody', "\n");
    return Apache2::Const::OK;
}

# With another status than 200, httpd keeps these headers alone.
sub see_other {
    my ($r, @headers) = (@_, Location => '/app');
    while (my ($name, $value) = splice @headers, 0, 2) { $r->err_headers_out->add($name => $value) }
    return Apache2::Const::HTTP_SEE_OTHER;
}

1;
