package MemSess::FastCGI;
# A small FastCGI server, of one process. As a responder it answers with its environment, as /cgi/env
# does, or at /begin?TEXT with what TEXT spells as a CGI script would, sends that, and is not over before
# the file that X-Until names is there (20 s at most); as an authorizer it lets everybody in who is "ann" with the password "x", and has httpd set
# the variable SAW to the names and values that it saw of cookies and sessions.
use strict;
use warnings;
use parent 'MemSess::Process';

use FCGI;

sub start { my ($class) = @_; return $class->named('fastcgi')->launch_perl(__FILE__) }

# ---- what runs in the process of its own ----

sub encode { $_[0] =~ s/([^A-Za-z0-9=&_.\/;: -])/sprintf '%%%02X', ord $1/ger }

sub serve {
    my ($port) = @_;
    my $socket = FCGI::OpenSocket("127.0.0.1:$port", 64);
    my %env;
    my $request = FCGI::Request(\*STDIN, \*STDOUT, \*STDERR, \%env, $socket);
    MemSess::Process::say_listening($port);
    while ($request->Accept >= 0) {
        if (($env{FCGI_ROLE} // '') eq 'AUTHORIZER') {
            my $ok = ($env{REMOTE_USER} // '') eq 'ann' && ($env{REMOTE_PASSWD} // '') eq 'x';
            my $saw = join '|', map { "$_=$env{$_}" } sort grep { /COOKIE|MEMSESS/ } keys %env;
            print 'Status: ', $ok ? 200 : 401, "\r\nVariable-SAW: $saw\r\n\r\n";
            next;
        }
        1 while read STDIN, my $body, 65536;
        if (($env{SCRIPT_NAME} // '') =~ m{/begin$}) {
            print $env{QUERY_STRING} =~ s/%([0-9a-fA-F]{2})/chr hex $1/ger;
            $request->Flush;
            for (1 .. 1000) { last if -e $env{HTTP_X_UNTIL}; select undef, undef, undef, 0.02 }
            print "end\n";
            next;
        }
        print "Content-Type: text/plain\r\n\r\n", map { "$_=" . encode($env{$_}) . "\n" } sort keys %env;
    }
}

serve(@ARGV) unless caller;

1;
