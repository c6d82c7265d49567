package MemSess::Member;
# One httpd, as it stands behind a balancer: its own ServerRoot, port, logs and
# processes; the modules and the site (t/conf) are the same for all.
use strict;
use warnings;
use parent 'MemSess::Process';

use File::Path qw(make_path);
use IO::Socket::INET;
use MemSess::Log;
use MemSess::Process qw(wait_for free_port);
use MemSess::Site;

my $count = 0;

# config: directives that follow the site's; servers: what MemSessServers says (memcacheds
# or strings), one line each; under: a command to run it under, as one process
sub new {
    my ($class, %args) = @_;
    my $dir = sprintf '%s/logs/member-%d-%d', $ENV{MEMSESS_T_ROOT}, $$, ++$count;
    make_path("$dir/cache");
    my $self = bless {
        dir     => $dir,
        conf    => "$dir/httpd.conf",
        log     => "$dir/output",
        servers => [map { ref ? $_->address : $_ } @{ $args{servers} // [] }],
        config  => $args{config} // '',
        error_log => MemSess::Log->new("$dir/error_log"),
    }, $class;
    $self->{command} = [@{ $args{under} // [] }, MemSess::Site::httpd(),
                        $args{under} ? '-X' : ('-D', 'FOREGROUND'), '-f', $self->{conf}];
    return $self;
}

sub start {
    my $self = ref $_[0] ? $_[0] : new(@_);
    for (1 .. 5) {
        $self->{port} = free_port();
        $self->{tls_port} = free_port();
        $self->configure($self->{config});
        unlink "$self->{dir}/httpd.pid";
        $self->launch;
        wait_for(30, sub { !$self->alive or $self->accepts });
        return $self if $self->alive;
        last unless $self->output =~ /could not bind|no listening sockets/;
    }
    die "httpd does not start:\n" . $self->output . $self->{error_log}->text;
}

# Writes the configuration; a running server takes it at its next (graceful) restart.
sub configure {
    my ($self, $config) = @_;
    $self->{config} = $config;
    my $root = $ENV{MEMSESS_T_ROOT};
    open my $out, '>', $self->{conf} or die "$self->{conf}: $!";
    print $out qq(
ServerRoot "$self->{dir}"
DefaultRuntimeDir "$self->{dir}"
Include "$root/conf/modules.conf"
PidFile "$self->{dir}/httpd.pid"
ErrorLog "$self->{dir}/error_log"
CustomLog "$self->{dir}/access_log" "%r %>s"
Listen 127.0.0.1:$self->{port}
Define T_ROOT "$root"
Define T_DIR "$self->{dir}"
Define T_BACKEND $ENV{MEMSESS_T_BACKEND}
Define T_TLS_PORT $self->{tls_port}
Include "$root/conf/site.conf"
), (map { "MemSessServers $_\n" } @{ $self->{servers} }), $config, "\n";
    close $out or die $!;
}

sub port     { $_[0]{port} }
sub tls_port { $_[0]{tls_port} }
sub dir      { $_[0]{dir} }
sub log      { $_[0]{error_log} }

# The pid file is written when the ports are ours.
sub accepts {
    my ($self) = @_;
    return -s "$self->{dir}/httpd.pid"
        && IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $self->{port}, Timeout => 5);
}

# graceful (USR1) and restart (HUP) return when the new generation serves.
sub graceful { $_[0]->reload('USR1') }
sub restart  { $_[0]->reload('HUP') }

sub reload {
    my ($self, $signal) = @_;
    my $mark = $self->log->mark;
    $self->signal($signal) or die "httpd is not there\n";
    $self->log->wait_for(qr/resuming normal operations/, $mark) && $self->alive
        or die "httpd does not come back:\n" . $self->log->text($mark);
    return $self;
}

sub graceful_stop { $_[0]->stop('WINCH') }

# What `apache2 -t` says of a configuration: exit code and message.
sub check {
    my ($class, $config) = @_;
    my $self = $class->new;
    $self->{port} = $self->{tls_port} = 1;
    $self->configure($config);
    my $message = qx('@{[ MemSess::Site::httpd() ]}' -t -f '$self->{conf}' 2>&1);
    return ($? >> 8 || $?, $message);
}

1;
