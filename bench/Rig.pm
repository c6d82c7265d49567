package Rig;

# The servers that a benchmark needs, started on free loopback ports out of one
# temporary directory, and stopped with it. Only processes that were started
# here are ever signalled.

use strict;
use warnings;

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

# As many descriptors as the machine allows: thousands of clients need them.
sub _raise_limits {
    system "prlimit --nofile=65536:65536 --pid $$ 2>/dev/null"
        . ' || prlimit --nofile=$(ulimit -H -n): --pid ' . $$;
    return;
}

# Copies what is measured into the directory where everything happens, so that a
# build meanwhile does no harm, and drops root's rights, which nothing here needs,
# so that it runs alike for every user.
sub settle {
    my (@files) = @_;
    _raise_limits();
    $dir = tempdir('memsess-bench-XXXXXX', TMPDIR => 1);
    for my $file (@files) {
        system('cp', '-R', $file, $dir) == 0 or die "$file: not copied\n";
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
    build($_) for qw(mod_bare.c mod_api.c);
    return;
}

sub directory { return $dir }

# A file in that directory; its path.
sub write_file {
    my ($name, $text) = @_;
    open my $out, '>', "$dir/$name" or die "$dir/$name: $!\n";
    print {$out} $text;
    close $out or die "$dir/$name: $!\n";
    return "$dir/$name";
}

# A module, from its own source and others.
sub build {
    my ($source, @more) = @_;
    output_of('apxs', '-c', (map {"-Wc,$_"} qw(-Wall -Wextra -Wshadow -I.)), $source, @more);
    my $module = $source =~ s/\.c$/.so/r;
    rename ".libs/$module", $module or die "$module: $!\n";
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

# The same for a function of our own, whose process ends with it.
sub spawn_code {
    my ($code) = @_;
    my $pid = fork;
    die "fork: $!\n" if !defined $pid;
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        setpgrp;
        eval { $code->(); 1 } or warn $@;
        POSIX::_exit(1);
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
    my ($pid, $signal) = @_;
    return if !$running{$pid};
    kill $signal || 'TERM', $pid if !ended($pid);
    kill 'CONT', $pid if !ended($pid);
    if (!await($STOP, sub { ended($pid) })) {
        kill 'KILL', -$pid;
        waitpid $pid, 0;
    }
    delete $running{$pid};
    return;
}

# Runs a command to its end; returns its output, or dies with it.
sub output_of {
    my (@command) = @_;
    my $file = "$dir/output";
    my $pid = spawn($file, @command);
    finish($pid, 1800) or die "@command failed:\n" . slurp($file);
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
    my ($name, $make, $fixed) = @_;
    my $log = "$dir/$name.out";
    for (1 .. 5) {
        my $port = $fixed || _free_port();
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

# Options: port, to have an earlier one again, and megabytes.
sub memcached {
    my ($name, %option) = @_;
    my ($port, $pid) = _serve($name, sub {
        return ('memcached', '-l', '127.0.0.1', '-p', $option{port} || $_[0], '-U', 0,
            '-m', $option{megabytes} || 64, '-t', 2, '-c', 16_384);
    }, $option{port});
    my $self = { name => $name, pid => $pid, port => $port, address => "127.0.0.1:$port" };
    await($START, sub {
        my $before = $self->{idle} || 0;
        $self->{idle} = memcached_stats($self)->{curr_connections};
        return $self->{idle} == $before;
    });
    return $self;
}

# Redis that keeps nothing on disk, as a cache of sessions is run.
sub redis {
    my ($name) = @_;
    my ($port, $pid) = _serve($name, sub {
        return ('redis-server', '--bind', '127.0.0.1', '--port', $_[0], '--dir', $dir,
            '--save', '', '--appendonly', 'no');
    });
    return { name => $name, pid => $pid, port => $port, address => "127.0.0.1:$port" };
}

sub _memcached_socket {
    my ($memcached) = @_;
    return IO::Socket::INET->new(PeerAddr => $memcached->{address}) || die "memcached: $!\n";
}

sub memcached_set {
    my ($memcached, $key, $value) = @_;
    my $socket = _memcached_socket($memcached);
    printf $socket "set %s 0 0 %d\r\n%s\r\n", $key, length $value, $value;
    my $answer = <$socket>;
    die "memcached did not store $key\n" if ($answer || '') !~ /^STORED/;
    return;
}

# The connections that an unused memcached counts while it is asked.
sub memcached_idle {
    my ($memcached) = @_;
    return $memcached->{idle};
}

sub memcached_get {
    my ($memcached, $key) = @_;
    my $socket = _memcached_socket($memcached);
    print $socket "get $key\r\n";
    my ($size) = (<$socket> || '') =~ /^VALUE \S+ \d+ (\d+)/ or return '';
    read $socket, my ($value), $size;
    return $value;
}

# Its counters, by name; kinds: none, or 'slabs' and the like.
sub memcached_stats {
    my ($memcached, @kind) = @_;
    # It always uses the same connection, since a closed one may be counted for a while.
    my $socket = $memcached->{asked} ||= _memcached_socket($memcached);
    my %stat;
    print $socket "stats @kind\r\n";
    while (defined(my $line = <$socket>)) {
        last if $line =~ /^END/;
        $stat{$1} = $2 if $line =~ /^STAT (\S+) (.*?)\r?$/;
    }
    return \%stat;
}

sub apxs {
    my ($name) = @_;
    my $value = output_of('apxs', '-q', $name);
    chomp $value;
    return $value;
}

sub httpd_program { return apxs('SBINDIR') . '/' . apxs('progname') }

# It has one process, so that its memory and its time are one figure; a thread
# for every connection and more; and no modules that are not compared.
my $CONFIG = <<'CONFIG';
ServerName localhost
ServerRoot "%(dir)"
PidFile "%(dir)/%(name).pid"
ErrorLog "%(dir)/%(name).log"
LogLevel warn
Listen 127.0.0.1:%(port)
%(mpm)
LoadModule authz_core_module "%(modules)/mod_authz_core.so"
LoadModule bare_module "%(dir)/mod_bare.so"

MaxConnectionsPerChild 0
KeepAlive On
KeepAliveTimeout 600
MaxKeepAliveRequests 0
ListenBacklog 16384
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

my %MPM = (event => <<'EVENT', prefork => <<'PREFORK');
LoadModule mpm_event_module "%(modules)/mod_mpm_event.so"
StartServers %(children)
ServerLimit %(children)
ThreadsPerChild %(threads)
ThreadLimit %(threads)
MaxRequestWorkers %(workers)
MinSpareThreads 1
MaxSpareThreads %(workers)
AsyncRequestWorkerFactor 400
EVENT
LoadModule mpm_prefork_module "%(modules)/mod_mpm_prefork.so"
StartServers %(threads)
ServerLimit %(threads)
MaxRequestWorkers %(threads)
MinSpareServers 1
MaxSpareServers %(threads)
PREFORK

# Options: conf, mpm, children, threads (or processes of prefork), modules,
# wrap (a command to run it under), single (-X).
sub httpd {
    my ($name, %option) = @_;
    my $program = httpd_program();
    my $threads = $option{threads} || 32;
    my $children = $option{children} || 1;
    my %value = (
        dir      => $dir,
        name     => $name,
        modules  => apxs('LIBEXECDIR'),
        threads  => $threads,
        children => $children,
        workers  => $threads * $children,
    );
    my $conf = join '', map { "LoadModule ${_}_module \"%(modules)/mod_$_.so\"\n" }
        @{ $option{modules} || [] };
    (my $text = $CONFIG) =~ s/%\(mpm\)/$MPM{ $option{mpm} || 'event' }/;
    $text .= $conf . $option{conf};
    my ($port, $pid) = _serve($name, sub {
        $value{port} = $_[0];
        (my $filled = $text) =~ s/%\((\w+)\)/$value{$1}/g;
        my $file = write_file("$name.conf", $filled);
        return (@{ $option{wrap} || [] }, $program, '-f', $file,
            $option{single} ? '-X' : '-DFOREGROUND');
    });
    my $self = { name => $name, pid => $pid, url => "http://127.0.0.1:$port",
        log => "$dir/$name.log", pids => [$pid], memcached => [] };
    return bless $self, __PACKAGE__;
}

# Stops the processes of a site.
sub close_site {
    my ($self) = @_;
    delete $self->{http};
    # Those that need the others are stopped first.
    stop($_) for reverse(@{ $self->{pids} }), map { $_->{pid} } @{ $self->{memcached} };
    return;
}

# --- asking, and looking from outside ----------------------------------------

sub get {
    my ($self, $path, $cookie) = @_;
    my %headers = defined $cookie ? (Cookie => $cookie) : ();
    $self->{http} ||= HTTP::Tiny->new(timeout => $START);
    $self->{asked}++;
    my $answer = $self->{http}->get($self->{url} . $path, { headers => \%headers });
    die "$self->{name}$path: keep-alive is off\n"
        if lc($answer->{headers}{connection} || '') eq 'close' && $answer->{status} == 200;
    return $answer if $answer->{status} == 200;
    die "$self->{name}$path answers $answer->{status} $answer->{reason}: "
        . substr($answer->{content}, 0, 300) . "\n"
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

# The children that serve, or under -X the process itself.
sub children {
    my ($self) = @_;
    my @children;
    for my $pid (map { m{(\d+)$} } glob '/proc/[0-9]*') {
        my @stat = _stat($pid);
        push @children, $pid if @stat && $stat[1] == $self->{pid};
    }
    return @children ? @children : $self->{pid};
}

sub child {
    my ($self) = @_;
    my @children = $self->children;
    die "$self->{name} has @{[scalar @children]} children\n" if @children > 1;
    return $children[0];
}

# Ticks that a process and its ended children have used. Hundreds of children use
# less than a tick each, so a process with one thread is asked for nanoseconds.
sub _ticks {
    my ($pid, @stat) = @_;
    my ($ns) = $stat[17] == 1 ? slurp("/proc/$pid/schedstat") =~ /^(\d+)/ : ();
    my $own = defined $ns ? $ns / 1e9 * POSIX::sysconf(POSIX::_SC_CLK_TCK()) : $stat[11]
        + $stat[12];
    return $own + $stat[13] + $stat[14];
}

# Seconds of processor time that these processes and all that they started,
# dead or alive, have used so far.
sub used {
    my (@pids) = @_;
    my (%of, %children);
    for my $pid (map { m{(\d+)$} } glob '/proc/[0-9]*') {
        my @stat = _stat($pid) or next;
        $of{$pid} = _ticks($pid, @stat);
        push @{ $children{ $stat[1] } }, $pid;
    }
    my $ticks = 0;
    while (defined(my $pid = shift @pids)) {
        $ticks += $of{$pid} || 0;
        push @pids, @{ $children{$pid} || [] };
    }
    return $ticks / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

# Kilobytes by the kernel's name for them, such as VmRSS.
sub memory {
    my ($pid, $what) = @_;
    my ($size) = slurp("/proc/$pid/status") =~ /^$what:\s+(\d+) kB/m;
    return $size;
}

# Kilobytes by the kernel's name for them, such as Pss, of all its mappings.
sub mappings {
    my ($pid, $what) = @_;
    my ($size) = slurp("/proc/$pid/smaps_rollup") =~ /^$what:\s+(\d+) kB/m;
    return $size;
}

# --- load --------------------------------------------------------------------

sub _cookie_file {
    my ($output, $cookies) = @_;
    open my $out, '>', "$output.cookies" or die "$output.cookies: $!\n";
    print {$out} map {"$_\n"} @{ $cookies || [''] };
    close $out or die "$output.cookies: $!\n";
    return "$output.cookies";
}

# Options: url, connections, seconds; cookies (of as many sessions as there are),
# follows (see load.lua), output; closed, where httpd may close connections: the
# event MPM does so to idle clients when all its threads are busy.
sub wrk_start {
    my (%option) = @_;
    my $output = $option{output} || "$dir/wrk";
    my $cookies = _cookie_file($output, $option{cookies});
    my $pid = spawn($output, 'wrk', '-t', 1, '-c', $option{connections}, '-d', $option{seconds},
        '--timeout', '5s', '--latency', '-s', "$dir/load.lua", $option{url}, '--', $cookies,
        $option{follows} ? 'follows' : ());
    return { %option, output => $output, pid => $pid };
}

# The same by clients.c, for thousands of clients and for requests at a pace. Options: url,
# connections, seconds, cookies, output; rate, of all together (else as fast as they get answers).
sub clients_start {
    my (%option) = @_;
    output_of(qw(cc -std=gnu99 -O2 -o clients clients.c)) if !-e 'clients';
    my $output = $option{output} || "$dir/clients.out";
    my $cookies = _cookie_file($output, $option{cookies});
    my ($port, $path) = $option{url} =~ m{:(\d+)(/.*)};
    my $pid = spawn($output, "$dir/clients", $port, $path, $option{connections},
        $option{rate} || 0, $option{seconds}, $cookies);
    return { %option, output => $output, pid => $pid };
}

# What they saw: count, rate; p50, p99, p999 and longest in ms; bad (answers that were no success),
# closed (connections that the server closed) and stalled (no answer for 10 s).
sub clients_look {
    my ($clients) = @_;
    my $good = finish($clients->{pid}, $clients->{seconds} + 60);
    my $text = slurp($clients->{output});
    my %seen = $text =~ /^(\w+) ([\d.]+)$/mg;
    die "clients $clients->{url}:\n$text" if !$good || !$seen{count};
    return \%seen;
}

my %MS = (us => 0.001, ms => 1, s => 1000, m => 60_000);

sub _ms {
    my ($text) = @_;
    my ($number, $unit) = ($text || '') =~ /^([\d.]+)(us|ms|s|m)$/ or return;
    return $number * $MS{$unit};
}

# What wrk saw: count, rate; p50, p99 and longest in ms; bad (answers that were
# no success) and stalled (time-outs). Any other error is fatal.
sub wrk_look {
    my ($wrk) = @_;
    my $good = finish($wrk->{pid}, $wrk->{seconds} + 60);
    my $text = slurp($wrk->{output});
    my %seen = (bad => 0, stalled => 0);
    ($seen{count}) = $text =~ /(\d+) requests in/;
    ($seen{rate}) = $text =~ m{Requests/sec:\s+([\d.]+)};
    ($seen{p50}, $seen{p99}) = map { _ms($text =~ /^\s+$_%\s+(\S+)/m) } 50, 99;
    ($seen{longest}) = map { _ms($_) } $text =~ /^\s+Latency\s+\S+\s+\S+\s+(\S+)/m;
    $seen{bad} = $1 if $text =~ /Non-2xx or 3xx responses: (\d+)/;
    $seen{stalled} = $1 if $text =~ /timeout (\d+)/;
    die "wrk $wrk->{url}:\n$text"
        if !$good || !defined $seen{rate}
        || !$wrk->{closed} && $text =~ /Socket errors: (?!connect 0, read 0, write 0,)/;
    return \%seen;
}

# The same for a run in which nothing may fail.
sub wrk_end {
    my ($wrk) = @_;
    my $seen = wrk_look($wrk);
    die "wrk $wrk->{url}: $seen->{count} answers, $seen->{bad} of them errors, "
        . "$seen->{stalled} time-outs\n" if !$seen->{count} || $seen->{bad} || $seen->{stalled};
    return $seen;
}

1;
