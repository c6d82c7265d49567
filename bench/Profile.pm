package Profile;

# The cost of one child: its memory over many requests, and the instructions of
# one request.

use strict;
use warnings;

use Report;
use Rig;
use Sites;

use IO::Socket::INET;
use List::Util qw(sum);

my $CONNECTIONS = 16;

# One site with one copy, and one session.
sub site_of_one {
    my (%option) = @_;
    my $site = Sites::memsess_site('one', copies => 1, %option);
    $site->{cookie} = Sites::make_session($site, '/write', Sites::session_form(0));
    return $site;
}

sub done_with {
    my ($site) = @_;
    Sites::show_session($site, '/show', $site->{cookie});
    $site->close_site;
    return;
}

# --- memory ------------------------------------------------------------------

sub report_memory {
    my ($count, $pid, $first) = @_;
    my %now = map { $_ => Rig::memory($pid, $_) } qw(VmRSS RssAnon VmData);
    printf "%12d %10d %10d %10d%s\n", $count, @now{qw(VmRSS RssAnon VmData)},
        $first ? sprintf('   %+d', $now{RssAnon} - $first->{RssAnon}) : '';
    return \%now;
}

sub memory_header {
    my ($what) = @_;
    printf "\n%s\n%12s %10s %10s %10s   growth of RssAnon (kB)\n", $what, 'requests',
        qw(VmRSS RssAnon VmData);
    return;
}

# It samples at every tenth; growth counts from the first sample, when all is warm.
sub many_requests {
    my ($what, $total, @paths) = @_;
    my $site = site_of_one();
    my $child = $site->child;
    memory_header($what);
    my $first;
    my $count = 0;
    for my $tenth (1 .. 10) {
        next if $count >= $total * $tenth / 10;
        while ($count < $total * $tenth / 10) {
            my @wrk = map { Rig::wrk_start(url => $site->{url} . $paths[$_], seconds => 1,
                connections => $CONNECTIONS / @paths, cookies => [$site->{cookie}],
                output => "wrk-$_") } 0 .. $#paths;
            $count += sum map { Rig::wrk_end($_)->{count} } @wrk;
        }
        my $now = report_memory($count, $child, $first);
        $first ||= $now;
    }
    die "the child was replaced\n" if $site->child != $child;
    done_with($site);
    return;
}

# wrk cannot count the requests of one connection, so this client is our own.
sub one_connection {
    my ($total) = @_;
    my $site = site_of_one();
    my $child = $site->child;
    my ($address) = $site->{url} =~ m{//(.*)};
    my $socket = IO::Socket::INET->new(PeerAddr => $address) or die "$address: $!\n";
    my @requests = map { "GET $_ HTTP/1.1\r\nHost: localhost\r\nCookie: $site->{cookie}\r\n\r\n" }
        '/read', '/write';
    memory_header('one keep-alive connection, read and write in turn');
    my $first;
    for my $count (1 .. $total) {
        syswrite $socket, $requests[$count % 2];
        my $answer = '';
        until ($answer =~ /\r\n\r\nHello, world\.\n\z/) {
            sysread($socket, $answer, 65536, length $answer)
                or die "the connection ended after $count requests\n";
        }
        die "request $count: $answer" if $answer !~ m{^HTTP/1\.1 200 };
        next if $count % ($total / 10);
        my $now = report_memory($count, $child, $first);
        $first ||= $now;
    }
    done_with($site);
    return;
}

sub memory {
    my $total = $ENV{BENCH_REQUESTS} || 1_000_000;
    machine();
    print "memory of the one child, in kB\n";
    many_requests('read', $total, '/read');
    many_requests('read and write, side by side', $total, '/read', '/write');
    one_connection($total / 10);
    return;
}

# --- instructions ------------------------------------------------------------

my $TOP = 30;    # functions listed
my @PROFILED = qw(none bare-get read read-2 read-cached read-sealed write write-2);

# Collects from a connection's first byte read to its last byte written, in the
# server's process, system calls counted but not what the kernel does in them. Returns the file,
# and how many requests its system calls are of: callgrind does not set these to zero.
sub profile {
    my ($name, $requests) = @_;
    my $contestant = $Sites::CONTESTANTS{$name};
    my $file = "callgrind.$name";
    my $near = Rig::directory() . '/near.so';
    Rig::output_of(qw(cc -shared -fPIC -o), $near, 'near.c');
    my $places = Sites::open_places(1, { threads => 1, single => 1,
        wrap => ['env', "LD_PRELOAD=$near", 'valgrind', '-q', '--vgdb=no', '--tool=callgrind', "--callgrind-out-file=$file",
            '--collect-systime=yes', '--collect-atstart=no',
            '--toggle-collect=ap_run_process_connection', '--zero-before=bench_mark'] }, $name);
    my $place = $places->{ $contestant->{place} };
    my $cookie = Sites::cookie_of($name, $place);
    # Requests before it warm up: connections to memcached are made once, not for every request.
    for my $path (($contestant->{path}) x 20, '/mark', ($contestant->{path}) x $requests) {
        my $set = $place->{site}->get($path, $cookie)->{headers}{'set-cookie'};
        ($cookie) = $set =~ /^([^;]+)/ if $set && $contestant->{follows};
    }
    Sites::close_places($places);
    return ($file, $place->{site}{asked});
}

# Rows of [instructions, system calls, function, object] of a request, costliest first. Who
# called the function that collection begins at gets the whole cost once more,
# and is left out; so is the clock, which is no system call but under valgrind.
sub functions {
    my ($file, $requests, $asked, @options) = @_;
    my ($whole) = Rig::slurp($file) =~ /^summary: (\d+)/m;
    my @rows;
    for my $line (split /\n/, Rig::output_of('callgrind_annotate', '--auto=no',
            '--threshold=100', '--show=Ir,sysCount', @options, $file)) {
        my ($ir, $calls, $source, $function, $object) = $line =~ m{
            ^\s* ([\d,]+) \s \(.*?\) \s+ (?: ([\d,]+) \s \(.*?\) | \. ) \s+
            (?: \S* / )? ([^:/]+) : (.*?) \s \[ (?: .* / )? (.*?) \] $}x or next;
        $calls = 0 if !defined $calls || $function =~ /time/;
        tr/,//d for $ir, $calls;
        $function = "$source:$function" if $source ne '???';
        push @rows, [$ir / $requests, $calls / $asked, $function, $object] if $ir < $whole;
    }
    return @rows;
}

sub report_functions {
    my ($title, @rows) = @_;
    splice @rows, $TOP if @rows > $TOP;
    print "\n$title\n";
    printf "%10.0f %6.1f  %-60s %s\n", @$_ for @rows;
    return;
}

sub instructions {
    my @names = @_ ? Sites::chosen(@_) : @PROFILED;
    my $requests = $ENV{BENCH_REQUESTS} || 500;
    machine();
    print "one request's instructions and system calls, by callgrind, over $requests requests\n\n";
    my %of;
    for my $name (@names) {
        my ($file, $asked) = profile($name, $requests);
        $of{$name} = [$file, $requests, $asked];
        my @rows = functions(@{ $of{$name} });
        my %object;
        $object{ $_->[3] } += $_->[0] for @rows;
        printf "%-12s %8.0f instructions %6.1f system calls\n", $name,
            sum(map { $_->[0] } @rows), sum(map { $_->[1] } @rows);
        printf "             %8.0f in %s\n", $object{$_}, $_
            for sort { $object{$b} <=> $object{$a} } keys %object;
    }
    for my $name (grep { $Sites::CONTESTANTS{$_}{place} ne 'bare' } @names) {
        report_functions("$name: each function on its own", functions(@{ $of{$name} }));
        report_functions("$name: each function with what it calls",
            functions(@{ $of{$name} }, '--inclusive=yes'));
    }
    return;
}

1;
