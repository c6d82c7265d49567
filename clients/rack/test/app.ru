# The application of t/405-rack.t: /NAME?ARGUMENT, the same in all languages.
$LOAD_PATH.unshift File.expand_path('..', __dir__)
require 'memsess'

use MemSess::Session, plain: ['user'], field_size: 400_000

def answer(env)
  session = env['rack.session']
  argument = CGI.unescape(env['QUERY_STRING'])
  case env['PATH_INFO'].delete_prefix('/app/')
  when 'get'     then JSON.generate(session[argument])
  when 'dump'    then JSON.generate(session.to_hash)
  when 'id'      then session.id.to_s
  when 'put'     then JSON.parse(env['rack.input'].read).each { |k, v| session[k] = v }
  when 'delete'  then session.delete(argument)
  when 'add'     then session[argument] = session[argument].to_i + 1
  when 'nested'  then (session['cart'] ||= {})['n'] = session['cart'].fetch('n', 0) + 1
  when 'bytes'   then session['bytes'] = (0..255).map(&:chr).join.b
  when 'is-bytes' then session['bytes'] == (0..255).map(&:chr).join.b ? 'same' : 'other'
  when 'object'  then session['object'] = Object.new
  when 'login'   then env['rack.session.options'][:renew] = true
                      session['user'] = argument
  when 'renew'   then env['rack.session.options'][:renew] = true
  when 'switch'  then session.destroy
                      session['user'] = argument
  when 'logout'  then session.destroy
  when 'expire'  then session['kept'] = 1
                      env['rack.session.options'][:expire_after] = argument.to_i
  when 'untouched' then 'nothing'
  else raise "no such thing: #{env['PATH_INFO']}"
  end
end

# A body that changes the session as it is sent.
class Late
  def initialize(session, how)
    @session, @how = session, how
  end

  def each
    yield "begun\n"
    @how == 'nested' ? @session['cart']['n'] = 1000 : @session['late'] = 1
    yield "done\n"
  end
end

run(lambda do |env|
  if env['PATH_INFO'].start_with?('/app/late')
    env['rack.session']['cart'] ||= {}
    next [200, { 'content-type' => 'text/plain' }, Late.new(env['rack.session'], env['QUERY_STRING'])]
  end
  [200, { 'content-type' => 'text/plain' }, [answer(env).to_s]]
rescue MemSess::Unavailable
  raise
rescue MemSess::Error => e
  [e.http_status, { 'content-type' => 'text/plain' }, [e.message]]
end)
