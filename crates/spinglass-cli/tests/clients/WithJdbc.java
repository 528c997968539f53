import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;

/** JDBC: queries, prepared statements often enough to be named, metadata, rows by portions. */
class WithJdbc {
    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static int rows(ResultSet found) throws Exception {
        int count = 0;
        while (found.next()) {
            count++;
        }
        return count;
    }

    public static void main(String[] arguments) throws Exception {
        String url = "jdbc:postgresql://127.0.0.1:" + arguments[0] + "/spinglass?user=me";
        Connection connection = DriverManager.getConnection(url);
        Statement statement = connection.createStatement();
        ResultSet found = statement.executeQuery("SELECT id, cpus, up, load FROM hosts ORDER BY id");
        check(found.next() && found.getString(1).equals("web1"), "the first host");
        check(found.getInt(2) >= 1 && found.getBoolean(3), "its values");
        found = statement.executeQuery("SELECT at FROM events");
        check(found.next() && found.getTimestamp(1) != null, "a time");

        PreparedStatement prepared = connection.prepareStatement(
            "SELECT id FROM hosts WHERE cpus >= ? AND up = ? AND id <> ?");
        for (int i = 0; i < 8; i++) {
            prepared.setInt(1, 1);
            prepared.setBoolean(2, true);
            prepared.setString(3, "web3");
            check(rows(prepared.executeQuery()) == 2, "prepared");
        }

        DatabaseMetaData about = connection.getMetaData();
        check(rows(about.getTables(null, null, "hosts", null)) == 1, "tables");
        check(rows(about.getColumns(null, null, "hosts", "cpus")) == 1, "columns");
        check(rows(about.getSchemas()) > 0 && rows(about.getCatalogs()) == 1, "schemas");
        check(rows(about.getTypeInfo()) > 0, "types");
        check(rows(about.getPrimaryKeys(null, null, "hosts")) == 0, "primary keys");
        check(rows(about.getIndexInfo(null, null, "hosts", false, false)) == 0, "indexes");
        check(rows(about.getImportedKeys(null, null, "hosts")) == 0, "foreign keys");

        connection.setAutoCommit(false);
        statement.setFetchSize(2);
        check(rows(statement.executeQuery("SELECT * FROM hosts")) == 3, "portions");
        PreparedStatement update = connection.prepareStatement("UPDATE self SET jdbc = ?");
        update.setString(1, "was here");
        check(update.executeUpdate() == 1, "an update");
        connection.commit();
        connection.close();
    }
}
