package MemSess::Test;
# The words of the test files.
use strict;
use warnings;

use Apache::Test ();
use Exporter 'import';
use Fcntl qw(O_WRONLY O_CREAT O_EXCL);
use MemSess::Client;
use MemSess::HTTP qw(raw);
use MemSess::Log;
use MemSess::Member;
use MemSess::Memcached;
use MemSess::Process qw(wait_for);
use Test::More import => [qw(is ok diag)];
use Time::HiRes qw(sleep);

our @EXPORT = qw(client server shared_memcached say_via escape set_via state data started
                 time_passes clears_cookie leaves_cookie back_again in_use raw wait_for growth sum private_file file_with
                 certificate);

# Apache::Test reports failures on STDOUT, where prove hides them.
{
    package Apache::Test;
    no warnings 'redefine';
    my $refresh = \&test_pm_refresh;
    *test_pm_refresh = sub {
        $refresh->();
        Test::Builder->new->failure_output(\*STDERR);
    };
}

# Apache::Test's own server, in the shape of a member.
sub server {
    my $vars = Apache::Test::vars();
    return bless {
        port      => $vars->{port},
        error_log => MemSess::Log->new("$vars->{t_logs}/error_log"),
        dir       => $vars->{t_logs},
    }, 'MemSess::Member';
}

# Its memcached, which t/TEST runs.
sub shared_memcached {
    my ($host, $port) = $ENV{MEMSESS_T_MEMCACHED} =~ /^(.*):(\d+)$/;
    return bless { host => $host, port => $port }, 'MemSess::Memcached';
}

*growth = \&MemSess::Memcached::growth;

sub client { MemSess::Client->new(@_) }

# A file that nobody else can read, as secrets must be; it is removed with the copy of the suite.
sub private_file {
    my ($name, $text) = @_;
    my $path = "$ENV{MEMSESS_T_ROOT}/logs/$name-$$";
    sysopen my $out, $path, O_WRONLY | O_CREAT | O_EXCL, 0600 or die "$path: $!";
    print $out $text;
    close $out or die "$path: $!";
    return $path;
}

# A file with that text, in place of the one there was.
sub file_with {
    my ($path, $text, $mode) = @_;
    unlink $path;
    open my $out, '>', $path or die "$path: $!";
    print $out $text;
    close $out or die "$path: $!";
    chmod $mode // 0600, $path;
    return $path;
}

# The file NAME.pem among the logs, with a certificate and its key: signed by a file of such, or by
# itself. NAME.pem.crt has the certificate alone.
sub certificate {
    my ($name, $subject, $ca) = @_;
    my $file = "$ENV{MEMSESS_T_ROOT}/logs/$name.pem";
    my $sign = $ca ? "-CA '$ca' -CAkey '$ca'" : '';
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        . " -subj /CN=$subject $sign -keyout '$file' -out '$file.crt' 2>'$file.log'"
        . " && cat '$file.crt' >>'$file'") == 0
        or die "openssl makes no certificate, see $file.log";
    return $file;
}

# Encodes everything but letters and digits, so that no layer finds a meaning in it.
sub escape {
    my ($text) = @_;
    $text =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;
    return $text;
}

# The target that makes a handler answer with these header lines, the first of which may
# be "Status: N"; a body follows "\n". The handler is cgi, proxy or lua, and may be followed
# by a path (cgi/here), which a <LocationMatch> of the test knows.
sub say_via {
    my ($handler, @lines) = @_;
    my ($kind, $path) = $handler =~ m{^(\w+)(.*)};
    my $body = @lines && $lines[-1] =~ /^\n/ ? substr(pop @lines, 1) : "said\n";
    push @lines, 'Content-Type: text/plain'
        unless grep { /^Content-Type:|^Status: (?:204|304)/i } @lines;
    return "/$kind/say$path?" . escape(join("\n", @lines) . "\n\n$body");
}

# Changes the session: set_via($client, 'a=1&b=2')
sub set_via {
    my ($client, $form, $handler) = @_;
    my $r = $client->get(say_via($handler // 'cgi', "MemSess-Set: $form"));
    is($r->status, 200, "set $form") or diag($r->{raw});
    return $r;
}

# The session as the next request sees it (of a script that starts no process). It is in one of the
# ways to write the same form, so that it can be compared.
sub state { $_[0]->get('/lua/env')->env('MEMSESS_STATE') }
sub data {
    my $data = $_[0]->get('/lua/env')->env('MEMSESS_DATA') // return;
    return $data =~ s/\+/%20/gr =~ s/(%..)/\U$1/gr;
}

# A client with a session of these attributes.
sub started {
    my ($server, $form, @how) = @_;
    my $client = client($server, @how);
    my $r = $client->get(say_via('cgi', 'MemSess-Set: ' . ($form // 'a=1')));
    defined $client->cookie or die "no session starts:\n$r->{raw}";
    return $client;
}

sub clears_cookie {
    my ($r) = @_;
    return scalar grep { /^memsess=;|^memsess="";/
        && /Max-Age=0|Expires=[^;]*1970/i } $r->header('Set-Cookie');
}

# Whether an answer neither sets nor clears the cookie.
sub leaves_cookie { my ($r) = @_; return !grep { /^memsess=/ } $r->header('Set-Cookie') }

# Waits until the member uses a server that was away: until the condition is true, and then as long as
# its other child processes may take, each of which finds out by MemSessRetry (300ms in all tests in
# which servers come back).
sub back_again {
    my ($condition) = @_;
    my $back = wait_for(20, $condition);
    time_passes(1.2);
    return $back;
}

# Under MemSess::Clock a child process still needs a moment for what it has to do then.
sub time_passes {
    my ($seconds) = @_;
    return sleep $seconds unless $INC{'MemSess/Clock.pm'};
    MemSess::Clock::let_pass($seconds);
    sleep 0.3;
}

# Waits until the member writes to every one of these servers (again).
sub in_use {
    my ($member, @servers) = @_;
    for my $server (@servers) {
        ok(wait_for(20, sub {
            $server->during(sub { client($member)->get(say_via('cgi', 'MemSess-Set: a=1')) },
                'cmd_set')
        }), 'in use: ' . $server->address);
    }
    back_again(sub { 1 });
}

# Failures of every test: a crash, or a cookie in a log.
END {
    MemSess::Process::stop_all();
    if (MemSess::Process::is_owner()) {
        my @faults = map { $_->faults(keys %MemSess::Client::secrets) } @MemSess::Log::logs;
        diag("in the error logs:"), diag($_) for @faults[0 .. ($#faults > 9 ? 9 : $#faults)];
        $? ||= 1 if @faults;
    }
}

sub sum { my $sum = 0; $sum += $_ for @_; return $sum }

1;
