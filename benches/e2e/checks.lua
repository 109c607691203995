-- A minimal set of checks: token, media type, handle, display name. No case folding of names, no
-- duplicates, no types, no PATCH, no metrics.
local cjson = require "cjson.safe"

local function refuse(status, detail)
    ngx.status = status
    ngx.header["Content-Type"] = "application/scim+json;charset=utf-8"
    ngx.say(cjson.encode({
        schemas = { "urn:ietf:params:scim:api:messages:2.0:Error" },
        status = tostring(status),
        detail = detail,
    }))
    return ngx.exit(status)
end

local headers = ngx.req.get_headers()
local authorization = headers["authorization"]
if type(authorization) ~= "string" or not ngx.re.find(authorization, "^Bearer [A-Za-z0-9+/]{43}=$", "jo") then
    return refuse(401, "a Wire SCIM token is needed")
end
if not ngx.re.find(ngx.var.uri, "^(/v[0-9]+)?/scim/v2/(Users|Groups)(/[^/]+)?$", "jo") then
    return refuse(404, "no such path")
end
local method = ngx.req.get_method()
if method ~= "POST" and method ~= "PUT" then
    return
end
local media_type = headers["content-type"]
if type(media_type) ~= "string" or not ngx.re.find(media_type, "^application/(scim\\+)?json", "joi") then
    return refuse(415, "the body has to be JSON")
end
ngx.req.read_body()
local user = cjson.decode(ngx.req.get_body_data() or "")
if type(user) ~= "table" then
    return refuse(400, "the body is no JSON object")
end
if type(user.userName) ~= "string" or not ngx.re.find(user.userName, "^[a-zA-Z0-9_.-]{2,256}$", "jo") then
    return refuse(400, "userName must be 2 to 256 characters out of a-z 0-9 _ . -")
end
local name = user.displayName
if name ~= nil and (type(name) ~= "string" or #name == 0 or #name > 512) then
    return refuse(400, "displayName must have 1 to 128 characters")
end
if type(user.externalId) ~= "string" then
    return refuse(400, "externalId is missing")
end
