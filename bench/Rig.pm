package Rig;

# The servers that a benchmark needs, started on free loopback ports out of one
# temporary directory, and stopped with it. Only processes that were started
# here are ever signalled.

use strict;
use warnings;

use File::Copy qw(copy);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(sleep time);

my $POLL  = 0.02;    # seconds between two looks at something awaited
my $START = 60;      # a server under a profiler is slow to start, and to stop
my $STOP  = 60;

my $owner = $$;
my ($dir, %running);

# Servers live in process groups of their own: Ctrl-C reaches this script alone,
# which then stops them in good order.
sub _leave { exit 130 }
$SIG{$_} = \&_leave for qw(INT TERM HUP);

END {
    if ($$ == $owner) {
        my $status = $?;
        local @SIG{qw(INT TERM HUP)} = ('IGNORE') x 3;
        stop($_) for reverse sort { $a <=> $b } keys %running;
        chdir '/';
        remove_tree($dir) if defined $dir;
        $? = $status;
    }
}

# True once condition holds, false when it did not in time.
sub await {
    my ($seconds, $condition) = @_;
    my $end = time() + $seconds;
    until ($condition->()) {
        return 0 if time() > $end;
        sleep $POLL;
    }
    return 1;
}

sub slurp {
    my ($path) = @_;
    open my $in, '<', $path or return '';
    local $/;
    my $text = <$in>;
    return defined $text ? $text : '';
}

# Takes what is to be measured into the directory that all the rest happens in,
# so that a build meanwhile does no harm; and leaves root's rights behind, which
# nothing here needs, so that it goes the same way for everyone.
sub settle {
    my (@files) = @_;
    $dir = tempdir('memsess-bench-XXXXXX', TMPDIR => 1);
    for my $file (@files) {
        copy($file, "$dir/") or die "$file: $!\n";
    }
    chdir $dir or die "$dir: $!\n";
    mkdir 'htdocs' or die "$dir/htdocs: $!\n";
    $ENV{HOME} = $dir;
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam 'nobody')[2, 3];
        chown $uid, $gid, $dir, glob "$dir/*";
        $) = "$gid $gid";
        $( = $gid;
        POSIX::setuid($uid);
        die "cannot become nobody\n" if $> != $uid || $< != $uid;
    }
    _build('mod_bare');
    return;
}

sub _build {
    my ($module) = @_;
    output_of('apxs', '-c', (map {"-Wc,$_"} qw(-Wall -Wextra -Wshadow)), "$module.c");
    rename ".libs/$module.so", "$module.so" or die "$module.so: $!\n";
    return;
}

# --- processes ---------------------------------------------------------------

# Starts a command whose output goes to a file, and returns its id.
sub spawn {
    my ($output, @command) = @_;
    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        setpgrp;
        open(STDIN, '<', '/dev/null')
            && open(STDOUT, '>', $output)
            && open(STDERR, '>&', \*STDOUT)
            && exec { $command[0] } @command;
        POSIX::_exit(127);
    }
    $running{$pid} = 1;
    return $pid;
}

# The status of a process that has ended, or undef.
sub ended {
    my ($pid) = @_;
    return $running{$pid} if !$running{$pid} || $running{$pid} ne '1';
    return if waitpid($pid, POSIX::WNOHANG()) == 0;
    return $running{$pid} = "status $?";
}

sub finish {
    my ($pid, $seconds) = @_;
    await($seconds, sub { ended($pid) }) or die "process $pid does not end\n";
    return delete $running{$pid} eq 'status 0';
}

sub stop {
    my ($pid) = @_;
    return if !$running{$pid};
    kill 'TERM', $pid if !ended($pid);
    if (!await($STOP, sub { ended($pid) })) {
        kill 'KILL', -$pid;
        waitpid $pid, 0;
    }
    delete $running{$pid};
    return;
}

# Runs a command to its end; its output, or death with what it said.
sub output_of {
    my (@command) = @_;
    my $file = "$dir/output";
    my $pid = spawn($file, @command);
    finish($pid, 600) or die "@command failed:\n" . slurp($file);
    return slurp($file);
}

# --- ports and servers -------------------------------------------------------

sub _free_port {
    my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
        or die "no free port: $!\n";
    return $socket->sockport;
}

# Starts what $make returns the command for, given a port; another port is
# tried where somebody took the first one in between.
sub _serve {
    my ($name, $make) = @_;
    my $log = "$dir/$name.out";
    for (1 .. 5) {
        my $port = _free_port();
        my $pid = spawn($log, $make->($port));
        my $listens = sub {
            return IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port");
        };
        await($START, sub { ended($pid) || $listens->() });
        return ($port, $pid) if !ended($pid);
        delete $running{$pid};
        last if slurp($log) !~ /in use/i;
    }
    die "$name does not start:\n" . slurp($log);
}

sub memcached {
    my ($name) = @_;
    my ($port, $pid) = _serve($name, sub {
        return ('memcached', '-l', '127.0.0.1', '-p', $_[0], '-U', 0, '-m', 64,
            '-t', 2);
    });
    return { name => $name, pid => $pid, address => "127.0.0.1:$port" };
}

sub memcached_set {
    my ($memcached, $key, $value) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $memcached->{address})
        or die "memcached: $!\n";
    printf $socket "set %s 0 0 %d\r\n%s\r\n", $key, length $value, $value;
    my $answer = <$socket>;
    die "memcached did not store $key\n" if ($answer || '') !~ /^STORED/;
    return;
}

sub apxs {
    my ($name) = @_;
    my $value = output_of('apxs', '-q', $name);
    chomp $value;
    return $value;
}

sub httpd_program { return apxs('SBINDIR') . '/' . apxs('progname') }

# One process, so that its memory and its time are one figure; a thread for
# every connection and more; and nothing on the way that is not compared.
my $CONFIG = <<'CONFIG';
ServerName localhost
ServerRoot "%(dir)"
PidFile "%(dir)/%(name).pid"
ErrorLog "%(dir)/%(name).log"
LogLevel warn
Listen 127.0.0.1:%(port)
LoadModule mpm_event_module "%(modules)/mod_mpm_event.so"
LoadModule authz_core_module "%(modules)/mod_authz_core.so"
LoadModule bare_module "%(dir)/mod_bare.so"

StartServers 1
ServerLimit 1
ThreadsPerChild %(threads)
ThreadLimit %(threads)
MaxRequestWorkers %(threads)
MinSpareThreads 1
MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
DocumentRoot "%(dir)/htdocs"

<Directory "/">
    AllowOverride None
</Directory>
<Location "/none">
    SetHandler bare-none
</Location>
<Location "/mark">
    SetHandler bench-mark
</Location>
CONFIG

# Options: conf, threads, wrap (a command to run it under), single (-X).
sub httpd {
    my ($name, %option) = @_;
    my $program = httpd_program();
    my %value = (
        dir      => $dir,
        name     => $name,
        modules  => apxs('LIBEXECDIR'),
        threads  => $option{threads} || 32,
    );
    my $file = "$dir/$name.conf";
    my ($port, $pid) = _serve($name, sub {
        $value{port} = $_[0];
        my $text = $CONFIG . $option{conf};
        $text =~ s/%\((\w+)\)/$value{$1}/g;
        open my $out, '>', $file or die "$file: $!\n";
        print {$out} $text;
        close $out or die "$file: $!\n";
        return (@{ $option{wrap} || [] }, $program, '-f', $file,
            $option{single} ? '-X' : '-DFOREGROUND');
    });
    my $self = { name => $name, pid => $pid, url => "http://127.0.0.1:$port",
        log => "$dir/$name.log" };
    return bless $self, __PACKAGE__;
}

# --- asking, and looking from outside ----------------------------------------

sub get {
    my ($self, $path, $cookie) = @_;
    my %headers = defined $cookie ? (Cookie => $cookie) : ();
    $self->{http} ||= HTTP::Tiny->new(timeout => $START);
    my $answer = $self->{http}->get($self->{url} . $path, { headers => \%headers });
    return $answer if $answer->{status} == 200;
    die "$self->{name}$path answers $answer->{status} $answer->{reason}\n"
        . $self->complaints;
}

# The end of the error log.
sub complaints {
    my ($self) = @_;
    return slurp($self->{log}) =~ /(.{0,2000})\z/s ? $1 : '';
}

sub _stat {
    my ($pid) = @_;
    my ($fields) = slurp("/proc/$pid/stat") =~ /\) (.*)/ or return;
    return split ' ', $fields;    # from the third, the state
}

# The child that serves, or under -X the process itself.
sub child {
    my ($self) = @_;
    my @children;
    for my $pid (map { m{(\d+)$} } glob '/proc/[0-9]*') {
        my @stat = _stat($pid);
        push @children, $pid if @stat && $stat[1] == $self->{pid};
    }
    die "$self->{name} has @{[scalar @children]} children\n" if @children > 1;
    return @children ? $children[0] : $self->{pid};
}

# Seconds of processor time that a process has used so far.
sub used {
    my ($pid) = @_;
    my @stat = _stat($pid);
    return ($stat[11] + $stat[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# Kilobytes by the kernel's name for them, such as VmRSS.
sub memory {
    my ($pid, $what) = @_;
    my ($size) = slurp("/proc/$pid/status") =~ /^$what:\s+(\d+) kB/m;
    return $size;
}

# --- load --------------------------------------------------------------------

sub wrk_start {
    my (%option) = @_;
    my $output = $option{output} || "$dir/wrk";
    my @cookie = defined $option{cookie} ? ('-H', "Cookie: $option{cookie}") : ();
    my $pid = spawn($output, 'wrk', '-t', 1, '-c', $option{connections},
        '-d', $option{seconds}, @cookie, $option{url});
    return { %option, output => $output, pid => $pid };
}

# Requests and requests a second; a single answer that was no success is fatal.
sub wrk_end {
    my ($wrk) = @_;
    my $good = finish($wrk->{pid}, $wrk->{seconds} + 30);
    my $text = slurp($wrk->{output});
    my ($count) = $text =~ /(\d+) requests in/;
    my ($rate) = $text =~ m{Requests/sec:\s+([\d.]+)};
    if (!$good || !$rate || $text =~ /Non-2xx|Socket errors/) {
        die "wrk $wrk->{url}:\n$text";
    }
    return ($count, $rate);
}

1;
