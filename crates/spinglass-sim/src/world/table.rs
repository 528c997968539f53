//! What scenarios do to the table: attributes, functions, objects.

use bytes::Bytes;
use spinglass_core::object::{ObjectError, ObjectName};
use spinglass_core::table::{Name, NewFunction, SetError, Value, ZonePath};

use super::{Observer, World};

impl World {
    /// Sets an attribute of a member's row.
    ///
    /// # Errors
    /// As the core's; a crashed member's table is closed.
    pub fn set_attribute(
        &mut self,
        index: usize,
        name: &str,
        value: Value,
    ) -> Result<(), SetError> {
        let (now, name) = (self.local_now(index), Name::new(name).expect("a legal name"));
        let driver = self.driver(index);
        driver.map_or(Err(SetError::Closed), |it| it.set_attributes(now, &[(name, value)]))
    }

    /// Installs a summary function through a member, or removes it.
    ///
    /// # Errors
    /// As the core's; a crashed member's table is closed.
    pub fn set_summary(
        &mut self,
        index: usize,
        zone: &ZonePath,
        name: &str,
        sql: Option<&str>,
    ) -> Result<(), SetError> {
        self.set_function(index, zone, name, sql.map(NewFunction::from))
    }

    /// The same, of a function that may have a lifetime.
    ///
    /// # Errors
    /// As the core's; a crashed member's table is closed.
    pub fn set_function(
        &mut self,
        index: usize,
        zone: &ZonePath,
        name: &str,
        function: Option<NewFunction<'_>>,
    ) -> Result<(), SetError> {
        let now = self.local_now(index);
        let driver = self.driver(index);
        driver.map_or(Err(SetError::Closed), |driver| driver.set_summary(now, zone, name, function))
    }

    /// Puts an object under an attribute of a member's row.
    ///
    /// # Errors
    /// As the core's; a crashed member's table is closed.
    pub fn put_object(
        &mut self,
        index: usize,
        name: &str,
        bytes: Bytes,
    ) -> Result<ObjectName, SetError> {
        let (now, name) = (self.local_now(index), Name::new(name).expect("a legal name"));
        let driver = self.driver(index);
        driver.map_or(Err(SetError::Closed), |driver| driver.put_object(now, name, bytes))
    }

    /// Lets a member fetch an object.
    ///
    /// # Errors
    /// As the core's; a crashed member fetches nothing.
    pub fn fetch_object(
        &mut self,
        index: usize,
        object: ObjectName,
        observer: &mut impl Observer,
    ) -> Result<(), ObjectError> {
        let now = self.local_now(index);
        let driver = self.driver(index).ok_or(ObjectError::Closed)?;
        let begun = driver.fetch_object(now, object);
        self.drain(index, observer);
        begun
    }
}
