# A page that counts, POST /app/login with user=NAME, and POST /app/logout.
require 'sinatra/base'
require_relative '../../clients/rack/memsess'

class App < Sinatra::Base
  use MemSess::Session, plain: ['user']
  set :environment, :production

  get '/app' do
    visits = session['hits'] || 0
    session['hits'] = visits + 1
    content_type 'text/plain'
    "earlier visits: #{visits}\nuser: #{session['user'] || 'nobody'}\n"
  end

  post '/app/login' do
    halt 422 if params['user'].to_s.empty?
    env['rack.session.options'][:renew] = true
    session['user'] = params['user']
    redirect '/app', 303
  end

  post '/app/logout' do
    session.destroy
    redirect '/app', 303
  end
end

run App
