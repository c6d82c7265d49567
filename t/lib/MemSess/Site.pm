package MemSess::Site;
# What all members of the tests have in common: where things are, which modules are loaded, and the
# variables that t/conf/site.conf uses.
use strict;
use warnings;

use Cwd qw(getcwd);

my @modules = qw(
    authz_core authz_host dir mime env setenvif headers rewrite alias actions include
    proxy proxy_http proxy_wstunnel lua ssl socache_shmcb cache cache_socache cache_disk
    auth_basic authn_core authn_file authz_user deflate expires
);

sub apxs { $ENV{APXS} || 'apxs' }

sub query {
    my ($name) = @_;
    chomp(my $answer = `@{[ apxs() ]} -q $name`);
    $? == 0 && $answer or die "apxs -q $name fails: is apache2-dev there?\n";
    return $answer;
}

sub httpd { $ENV{MEMSESS_T_HTTPD} }

# The directory with t, conf.d, docs and so on: a copy of the checkout.
sub top { $ENV{MEMSESS_T_ROOT} =~ s{/t$}{}r }

sub modules_file { "$ENV{MEMSESS_T_ROOT}/conf/modules.conf" }

# mod_cgid of httpd 2.4.69 refuses what has more than some 4 kB of environment (AH01248).
sub cgi_module {
    my ($mpm) = @_;
    return $mpm eq 'prefork' || qx($ENV{MEMSESS_T_HTTPD} -v) =~ m{Apache/2\.4\.69\b} ? 'cgi' : 'cgid';
}

# The environment is how t/TEST tells the test files. cgi => 0: without CGI.
sub prepare {
    my (%shared) = @_;
    my $mpm = $ENV{MPM} || 'event';
    $ENV{MEMSESS_T_ROOT}      = getcwd() . '/t';
    $ENV{MEMSESS_T_HTTPD}     = join '/', query('SBINDIR'), query('TARGET');
    $ENV{MEMSESS_T_BACKEND}   = $shared{backend};
    $ENV{MEMSESS_T_MEMCACHED} = $shared{memcached};
    my $dir = query('LIBEXECDIR');
    my @cgi = $shared{cgi} // 1 ? cgi_module($mpm) : ();
    open my $out, '>', modules_file() or die modules_file() . ": $!";
    print $out qq(LoadModule $_->[0]_module "$_->[1]"\n)
        for ["mpm_$mpm", "$dir/mod_mpm_$mpm.so"],
            (map { [$_, "$dir/mod_$_.so"] } @modules, @cgi),
            ['memsess', getcwd() . '/.libs/mod_memsess.so'];
    close $out or die $!;
}

1;
