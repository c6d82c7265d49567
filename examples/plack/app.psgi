# A page that counts, POST /app/login with user=NAME, and POST /app/logout.
use strict;
use warnings;
use FindBin;
use Plack::Builder;
use Plack::Request;

sub away { return [303, [Location => '/app'], []] }

builder {
    enable 'Session::MemSess', plain => ['user'];
    sub {
        my $request = Plack::Request->new($_[0]);
        my ($session, $options) = ($request->session, $request->session_options);
        my $what = $request->method . ' ' . $request->path;
        if ($what eq 'POST /app/login') {
            my $user = $request->parameters->{user} // '';
            return [422, [], []] if $user eq '';
            utf8::decode($user);
            $options->{change_id} = 1;
            $session->{user} = $user;
            return away();
        }
        if ($what eq 'POST /app/logout') {
            $options->{expire} = 1;
            return away();
        }
        my $visits = $session->{hits} // 0;
        $session->{hits} = $visits + 1;
        my $text = "earlier visits: $visits\nuser: " . ($session->{user} // 'nobody') . "\n";
        utf8::encode($text);
        return [200, ['Content-Type' => 'text/plain; charset=utf-8'], [$text]];
    };
};
