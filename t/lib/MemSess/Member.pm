package MemSess::Member;
# One httpd, as it stands behind a balancer: its own ServerRoot, port, logs and
# processes; the modules and the site (t/conf) are the same for all.
use strict;
use warnings;
use parent 'MemSess::Process';

use File::Path qw(make_path);
use IO::Socket::INET;
use MemSess::Log;
use MemSess::Preload;
use MemSess::Process qw(wait_for free_port);
use MemSess::Site;

my $count = 0;

# config: directives that follow the site's; servers: what MemSessServers says (memcacheds
# or strings), one line each; under: a command to run it under, as one process; clock: how far
# its wall clock is off ('-1h', '+10m', '+250ms', 0), which set_clock then changes while it runs;
# without it, it has the machine's, or that of MemSess::Clock; lacks: what the module cannot have ('threads', 'pipes'); mpm:
# where it is to be another one than the site's
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
        modules => modules($dir, $args{mpm}),
    }, $class;
    $self->{command} = [@{ $args{under} // [] }, MemSess::Site::httpd(),
                        $args{under} ? '-X' : ('-D', 'FOREGROUND'), '-f', $self->{conf}];
    my (@preload, @files);
    if (defined $args{clock}) {
        $self->{clock} = "$dir/clock";
        $self->set_clock($args{clock});
        push @files, "MEMSESS_T_CLOCK=$dir/clock";
    }
    push @files, MemSess::Clock::environment() if $INC{'MemSess/Clock.pm'};
    push @preload, 'clock' if @files;
    if ($args{lacks}) {
        $self->{fails} = "$dir/fails";
        $self->lacks($args{lacks});
        push @preload, 'fails';
        push @files, "MEMSESS_T_FAILS=$dir/fails";
    }
    unshift @{ $self->{command} }, 'env', MemSess::Preload::environment(@preload), @files if @preload;
    return $self;
}

# The modules of the site, with the MPM of this member.
sub modules {
    my ($dir, $mpm) = @_;
    return MemSess::Site::modules_file() unless $mpm;
    open my $in, '<', MemSess::Site::modules_file() or die $!;
    open my $out, '>', "$dir/modules.conf" or die "$dir: $!";
    for (<$in>) {
        s/mpm_(?:event|worker|prefork)/mpm_$mpm/g;
        s/cgid(?=_module|\.so)/cgi/g if $mpm eq 'prefork';
        print $out $_;
    }
    close $out or die $!;
    return "$dir/modules.conf";
}

# For a member that was made with lacks: from now on the system gives the module no more of these
# ('threads', 'pipes'), or all of them again.
sub lacks {
    my ($self, $what) = @_;
    unlink glob "$self->{fails}-*";
    open my $out, '>', "$self->{fails}-$what" or die $! if $what;
    return $self;
}

my %microseconds = (ms => 1e3, s => 1e6, m => 60e6, h => 3600e6, d => 86400e6);

# Sets the wall clock of a running member that was made with one, for all its processes at once:
# to the machine's time and this ('-10m', 0), whatever it showed before. Its monotonic clock, the test
# and the memcacheds do not notice. The times of files are the machine's.
sub set_clock {
    my ($self, $off) = @_;
    my ($n, $unit) = $off =~ /^([+-]?\d+)(ms|[smhd])$/ or $off eq '0' or die "no such time: $off\n";
    $self->{clock} or die "a member has a clock of its own only if it is made with one\n";
    # The file is written in place, since t/preload/clock.c maps it.
    open my $out, -e $self->{clock} ? '+<' : '>', $self->{clock} or die "$self->{clock}: $!";
    syswrite $out, pack('q', $unit ? $n * $microseconds{$unit} : 0) or die "$self->{clock}: $!";
    close $out or die $!;
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
        wait_for(60, sub { !$self->alive or $self->accepts });
        return $self if $self->alive;
        last unless $self->output =~ /could not bind|no listening sockets/;
    }
    die "httpd does not start:\n" . $self->output . $self->{error_log}->text;
}

# Writes the configuration; a running member takes it at its next restart, graceful or not.
sub configure {
    my ($self, $config) = @_;
    $self->{config} = $config;
    my $root = $ENV{MEMSESS_T_ROOT};
    open my $out, '>', $self->{conf} or die "$self->{conf}: $!";
    print $out qq(
ServerRoot "$self->{dir}"
DefaultRuntimeDir "$self->{dir}"
Include "$self->{modules}"
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
sub restart  { $_[0]->await_rest; return $_[0]->reload('HUP') }

# httpd's event MPM may crash when SIGHUP meets a connection: its listener uses freed memory. So no
# connection may be left, not even the one that showed the end of the start.
sub await_rest {
    my ($self) = @_;
    wait_for(20, sub { !$self->connections }) or die "connections of httpd do not end\n";
}

# How many accepted or waiting connections are not closed yet.
sub connections {
    my ($self) = @_;
    my $port = sprintf ':%04X', $self->{port};
    open my $in, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!";
    return grep { /^\s*\d+: [0-9A-F]{8}$port \S+ (?!0A|06)/ } <$in>;
}

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
