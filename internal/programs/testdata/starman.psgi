# A PSGI application that answers with what it is sent.
use strict;
use warnings;

sub {
    my $env  = shift;
    my $body = '';
    $env->{'psgi.input'}->read($body, $env->{CONTENT_LENGTH}) if $env->{CONTENT_LENGTH};
    return [200, ['Content-Length' => length $body], [$body]];
};
